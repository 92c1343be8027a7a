package deploy

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/contracttest"
)

// The whole program keeps the HTTP contract, on each store.
func TestContract(t *testing.T) {
	t.Parallel()
	for name, configure := range map[string]func(*testing.T) *Config{"sqlite": local, "postgres": onPostgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := New(configure(t), contracttest.Types())
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, p.Stop()) })
			require.NoError(t, p.Start(t.Context()))
			contracttest.Run(t, contracttest.Doorman{URL: p.URL(), Limits: p.limitsView(),
				RejectParked: func(ctx context.Context, id commands.ID) error {
					return p.worker.RejectParked(ctx, id, "taken off by op: a test")
				}})
		})
	}
}
