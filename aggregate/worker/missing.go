package worker

import (
	"fmt"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

// missingType stands for an aggregate type that this program does not have, as when a gateway runs a
// newer one: tickets are judged as ever, and whatever would land ends as failed.
type missingType string

var _ aggregate.Type = missingType("")

func (m missingType) Name() string { return string(m) }

func (missingType) Settings() aggregate.Settings {
	return aggregate.Settings{ParkFor: aggregate.DefaultParkFor, SessionWindow: aggregate.DefaultSessionWindow}
}

func (missingType) Commands() []aggregate.CommandInfo { return nil }

func (missingType) Events() []aggregate.EventInfo { return nil }

func (missingType) Allows(commands.Policy, string) bool { return true }

func (missingType) Initial() any { return []byte(nil) }

func (m missingType) Decide(any, string, []byte) ([]commands.Event, error) {
	return nil, fmt.Errorf("this program has no aggregate type %q", string(m))
}

func (missingType) Evolve(state any, _ commands.Event) (any, error) { return state, nil }

func (missingType) EncodeState(state any) ([]byte, error) { return state.([]byte), nil }

func (missingType) DecodeState(data []byte) (any, error) { return data, nil }
