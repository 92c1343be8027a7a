//go:build unix

package endtoend

import (
	"testing"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/contracttest"
)

// The HTTP contract holds for a process that was told nothing but where its addresses and its store are.
// An operator's word is given within the process, where package deploy holds the same contract.
func TestAProcessKeepsTheContract(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *place) {
		p.start(t)
		contracttest.Run(t, contracttest.Doorman{URL: p.url(), Limits: commands.LimitsView{
			MaxArray: 256, MaxBody: 256 << 10, MaxDepth: 32, MaxWatched: 256, // DESIGN section 3
			ParkedPerStream: 256, ParkedPerSession: 1000, Parked: 50_000, ParkSeconds: 30, // and section 2
		}})
	})
}
