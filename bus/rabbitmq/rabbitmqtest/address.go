package rabbitmqtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// handedOut are the ports that this process has had.
var handedOut sync.Map

// FreeAddress is one on this machine for a server of a test's own, which no other of this process gets. Its port is below
// those that systems give to outgoing connections, so that it is still free when the server has been away for a while.
func FreeAddress(t testing.TB) string {
	t.Helper()
	return localAddress(freePort(t))
}

func localAddress(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

func freePort(t testing.TB) int {
	t.Helper()
	for {
		port := 20_000 + rand.IntN(10_000)
		if _, had := handedOut.LoadOrStore(port, true); had {
			continue
		}
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", localAddress(port))
		if err != nil { // somebody is there
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
}
