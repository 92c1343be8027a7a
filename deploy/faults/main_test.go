//go:build unix

package faults

import (
	"encoding/json"
	"io"
	"os"
	"testing"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/cmd/cli"
)

// actAsDoorman in the environment makes this binary the program under test.
const actAsDoorman = "DOORMAN_TEST_ACT_AS_DOORMAN"

func TestMain(m *testing.M) {
	if os.Getenv(actAsDoorman) != "" {
		go endWithParent()
		cli.Main(ledger(patientType, aggregate.MaxParkFor), ledger(briefType, briefly))
	}
	os.Exit(m.Run())
}

// endWithParent: standard input is a pipe that nobody writes to; it ends when the test does, however that
// comes about.
func endWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(70)
}

// The types of streams: on one, commands wait for their predecessors as long as can be; on the other not
// for long, so that an outage which counted as waiting would be seen.
const (
	patientType = "ledger"
	briefType   = "brief"
	briefly     = 15 * time.Second
)

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

// ledger is a type whose commands do what their names say.
func ledger(name string, parkFor time.Duration) aggregate.Type {
	t := aggregate.Define[entry](name, tally{}, aggregate.Settings{ParkFor: parkFor})
	aggregate.Handle(t, "add", func(_ tally, a added) ([]entry, error) { return []entry{a}, nil })
	aggregate.Handle(t, "add_twice", func(_ tally, a added) ([]entry, error) { return []entry{a, a}, nil })
	aggregate.Handle(t, "note", func(tally, nothing) ([]entry, error) { return nil, nil })
	aggregate.On(t, "added", func(s tally, a added) tally { return tally{s.Count + a.N} })
	return t.MustBuild()
}

// effects is how many events a command has when it lands.
func effects(kind string) int {
	switch kind {
	case "note":
		return 0
	case "add_twice":
		return 2
	}
	return 1
}

// encoded is JSON of what is of this package's making.
func encoded(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}
