package deploy

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/deploy/contracttest"
)

// The whole program keeps the HTTP contract, on each store, and its description of itself is true: of all that
// passes, and all of it has been seen.
func TestContract(t *testing.T) {
	t.Parallel()
	for name, configure := range map[string]func(*testing.T) *Config{"sqlite": local, "postgres": onPostgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := New(configure(t), contracttest.Types())
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, p.Stop()) })
			require.NoError(t, p.Start(t.Context()))
			transport := &http.Transport{}
			t.Cleanup(transport.CloseIdleConnections)
			checker := described(t, p.URL())
			client := &http.Client{Transport: checker.Watch(transport)}
			t.Run("table", func(t *testing.T) {
				contracttest.Run(t, contracttest.Doorman{URL: p.URL(), Limits: p.limitsView(), Client: client,
					RejectParked: operator(t, p.AdminURL())})
			})
			askMore(t, client, p.URL())
			askToBeTold(t, client, p.URL())
			require.Empty(t, checker.Complaints(), "all that passed is as the program's OpenAPI document says")
			requireMet(t, checker, unseen)
		})
	}
}
