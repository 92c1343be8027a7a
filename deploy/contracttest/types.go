package contracttest

import (
	"time"

	"github.com/ticketed/doorman/aggregate"
)

// Types are those that a program under test must serve: "tally" counts, and its commands do what their
// names say; "guarded" is the same and allows no policy but ticket; "hasty" waits 50 ms for a
// predecessor.
func Types() []aggregate.Type {
	return []aggregate.Type{
		tally("tally", aggregate.Settings{Policies: []aggregate.Policy{aggregate.PolicyStrict, aggregate.PolicySession}}),
		tally("guarded", aggregate.Settings{}),
		tally("hasty", aggregate.Settings{ParkFor: 50 * time.Millisecond}),
	}
}

type count struct {
	Count int `json:"count"`
}

type event interface{ tallied() }

type added struct {
	N int `json:"n"`
}

type wasSet struct {
	N int `json:"n"`
}

func (added) tallied()  {}
func (wasSet) tallied() {}

type amount struct {
	N int `json:"n"`
}

type nothing struct{}

func tally(name string, settings aggregate.Settings) aggregate.Type {
	t := aggregate.Define[event](name, count{}, settings)
	aggregate.Handle(t, "add", func(_ count, a amount) ([]event, error) { return []event{added(a)}, nil },
		aggregate.Schema(`{"type":"object","properties":{"n":{"type":"integer","minimum":1}},"required":["n"],"additionalProperties":false}`))
	aggregate.Handle(t, "note", func(count, nothing) ([]event, error) { return nil, nil })
	aggregate.Handle(t, "refuse", func(c count, _ nothing) ([]event, error) {
		return nil, aggregate.Refuse("not_today", "the count is %d, come back tomorrow", c.Count)
	})
	aggregate.Handle(t, "panic", func(count, nothing) ([]event, error) { panic("on purpose") })
	setting := []aggregate.About{}
	if name == "tally" {
		setting = append(setting, aggregate.Allow(aggregate.PolicyAny))
	}
	aggregate.Handle(t, "set", func(_ count, a amount) ([]event, error) { return []event{wasSet(a)}, nil }, setting...)
	aggregate.On(t, "added", func(c count, e added) count { return count{c.Count + e.N} })
	aggregate.On(t, "was_set", func(_ count, e wasSet) count { return count{e.N} })
	return t.MustBuild()
}
