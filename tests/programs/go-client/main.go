// Streams over TLS on goroutines, linked dynamically because it uses C.
package main

// #include <unistd.h>
import "C"

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand"
	"net/http"
	"os"
	"sync"
	"time"
)

func main() {
	base, ca := os.Args[1], os.Args[2]
	pem, err := os.ReadFile(ca)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	var group sync.WaitGroup
	var lock sync.Mutex
	for i := 0; i < 4; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			answer, err := client.Get(fmt.Sprintf("%s/stream?n=%d&ms=2", base, 4+i))
			if err != nil {
				panic(err)
			}
			defer answer.Body.Close()
			lines := bufio.NewScanner(answer.Body)
			for lines.Scan() {
				lock.Lock()
				fmt.Println(i, lines.Text())
				lock.Unlock()
			}
		}(i)
	}
	group.Wait()
	fmt.Println(int(C.getpid()), rand.Int(), time.Now().UnixNano())
	fmt.Println("done")
}
