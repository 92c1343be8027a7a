//go:build unix

package endtoend

import (
	"encoding/json"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/document"
	"github.com/ticketed/doorman/aggregate/order"
	"github.com/ticketed/doorman/cmd/cli"
	"github.com/ticketed/doorman/deploy/contracttest"
)

// actAsDoorman in the environment makes this binary the program under test.
const actAsDoorman = "DOORMAN_TEST_ACT_AS_DOORMAN"

func TestMain(m *testing.M) {
	if os.Getenv(actAsDoorman) != "" {
		go endWithParent()
		types := []aggregate.Type{document.Type(), order.Type(), ledger("ledger", aggregate.MaxParkFor), ledger("brief", briefly)}
		cli.Main(append(types, contracttest.Types()...)...)
	}
	// Most tests wait most of the time. The command line, which is read later, has the last word.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// endWithParent: standard input is a pipe that nobody writes to; it ends when the test does, however that
// comes about.
func endWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(70)
}

// deadly is the exit code of a process in which the command "die" with this number is judged.
const deadly = 71

// briefly is how long commands of the type "brief" wait for their predecessors.
const briefly = 4 * time.Second

// seed is the test's own, or the one that is to be replayed.
func seed(t *testing.T) *rand.Rand {
	t.Helper()
	value := rand.Uint64N(1 << 32)
	if text := os.Getenv("DOORMAN_TEST_SEED"); text != "" {
		var err error
		value, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err, "DOORMAN_TEST_SEED")
	}
	t.Logf("DOORMAN_TEST_SEED=%d", value)
	return rand.New(rand.NewPCG(value, 0))
}

// tally is the state of a ledger; its events say what they add to it.
type tally struct {
	Count int `json:"count"`
}

type entry interface{ entered() }

type added struct {
	N int `json:"n"`
}

func (added) entered() {}

type nothing struct{}

type hold struct {
	N      int `json:"n"`
	Millis int `json:"millis"`
}

// ledger is a type whose commands do what their names say.
func ledger(name string, parkFor time.Duration) aggregate.Type {
	t := aggregate.Define[entry](name, tally{}, aggregate.Settings{
		ParkFor: parkFor, Policies: []aggregate.Policy{aggregate.PolicyStrict, aggregate.PolicyAny},
	})
	aggregate.Handle(t, "add", func(_ tally, a added) ([]entry, error) { return []entry{a}, nil })
	aggregate.Handle(t, "add_twice", func(_ tally, a added) ([]entry, error) { return []entry{a, a}, nil })
	aggregate.Handle(t, "note", func(tally, nothing) ([]entry, error) { return nil, nil })
	aggregate.Handle(t, "refuse", func(tally, nothing) ([]entry, error) {
		return nil, aggregate.Refuse("not_today", "come back tomorrow")
	})
	aggregate.Handle(t, "hold", func(_ tally, h hold) ([]entry, error) {
		time.Sleep(time.Duration(min(h.Millis, 1000)) * time.Millisecond)
		return []entry{added{h.N}}, nil
	})
	aggregate.Handle(t, "die", func(_ tally, a added) ([]entry, error) {
		if a.N == deadly { // a type is tried out with made-up commands when it is built
			os.Exit(deadly)
		}
		return nil, nil
	})
	aggregate.Handle(t, "write", func(_ tally, text json.RawMessage) ([]entry, error) { return []entry{added{len(text)}}, nil })
	aggregate.On(t, "added", func(s tally, a added) tally { return tally{s.Count + a.N} })
	return t.MustBuild()
}
