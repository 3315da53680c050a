// fetch, plain and over TLS, one after another and many at once.
const [secure, plain] = process.argv.slice(2);

async function stream(base, name) {
    const answer = await fetch(`${base}/stream?n=6&ms=2`);
    const text = new TextDecoder();
    for await (const piece of answer.body) {
        console.log(name, performance.now(), text.decode(piece));
    }
}

for (const base of [plain, secure]) {
    const answer = await fetch(base);
    console.log(answer.status, Object.fromEntries(answer.headers), await answer.text());
    await stream(base, 'alone');
    await Promise.all([0, 1, 2, 3, 4, 5].map((n) => stream(base, n)));
    const upload = await fetch(`${base}/upload`, { method: 'POST', body: 'x'.repeat(200000) });
    console.log(await upload.text());
}
try {
    await fetch('http://127.0.0.1:1/');
} catch (error) {
    console.log(error.message, error.cause.code);
}
console.log(Date.now(), process.hrtime.bigint(), Math.random(), crypto.randomUUID());
console.log('done');
