// java.net.http.HttpClient over TLS, many streams at once, with default flags.
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.io.FileInputStream;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.UUID;
import java.util.stream.IntStream;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class Streams {
    public static void main(String[] args) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null);
        try (FileInputStream pem = new FileInputStream(args[1])) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(pem));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        HttpClient client = HttpClient.newBuilder().sslContext(context).build();
        var streams = IntStream.range(0, 4).mapToObj(number -> {
            var request = HttpRequest.newBuilder(URI.create(args[0] + "/stream?n=6&ms=2")).build();
            return client.sendAsync(request, BodyHandlers.ofLines()).thenAccept(answer -> answer.body()
                .forEach(line -> System.out.println(number + " " + System.nanoTime() + " " + line)));
        }).toList();
        for (var stream : streams) stream.join();
        System.out.println(UUID.randomUUID() + " " + System.currentTimeMillis() + " " + Math.random());
        System.out.println("done");
    }
}
