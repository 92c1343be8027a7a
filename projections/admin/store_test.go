package admin_test

import (
	"context"
	"slices"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
)

// shelf is a deliberately simple store; the real ones are judged by the conformance suite.
type shelf struct {
	statuses map[commands.ID]store.CommandStatus
	parked   []store.ParkedEntry
	head     *store.Record
	letters  []store.DeadLetter
	fails    error // of reading
}

// noon is when everything happened.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var stream42 = commands.Stream{Type: "order", ID: "42"}

// park has a command wait for another one.
func (s *shelf) park(id, waitsFor commands.ID, stream commands.Stream) {
	waiting := &aggregate.Waiting{ParkedAt: noon, Envelope: commands.Seal(commands.Command{ID: id, Stream: stream, Type: "add_line",
		Ticket: waitsFor, Actor: "Ann", Session: "a secret", Data: []byte(`{"sku":"A1"}`)}, noon)}
	status := store.CommandStatus{ID: id, Waiting: waiting, Until: noon.Add(time.Minute)}
	s.statuses[id] = status
	s.parked = append(s.parked, store.ParkedEntry{N: uint64(10 + 3*len(s.parked)), CommandStatus: status})
}

func (s *shelf) settle(o commands.Outcome) {
	if o.Stream == (commands.Stream{}) {
		o.Stream = stream42
	}
	s.statuses[o.ID] = store.CommandStatus{ID: o.ID, Outcome: &o}
}

// bury keeps a letter, and gives its number.
func (s *shelf) bury(l store.DeadLetter) uint64 {
	l.N, l.At = uint64(1+2*len(s.letters)), noon
	if l.Origin == "" {
		l.Origin = store.OriginWorker
	}
	s.letters = append(s.letters, l)
	return l.N
}

func (s *shelf) Status(_ context.Context, ids []commands.ID) ([]store.CommandStatus, error) {
	all := make([]store.CommandStatus, len(ids))
	for i, id := range ids {
		if all[i] = s.statuses[id]; all[i].ID == commands.None {
			all[i].ID = id
		}
	}
	return all, s.fails
}

func (s *shelf) Head(context.Context, commands.Stream) (*store.Record, bool, error) {
	return s.head, s.head != nil, s.fails
}

func (s *shelf) ParkedList(_ context.Context, query store.ParkedQuery) (some []store.ParkedEntry, err error) {
	for _, e := range s.parked {
		if e.N > query.After && len(some) < query.Limit && (query.Stream == nil || *query.Stream == e.Waiting.Stream) {
			some = append(some, e)
		}
	}
	return some, s.fails
}

func (s *shelf) find(n uint64) (*store.DeadLetter, error) {
	at := slices.IndexFunc(s.letters, func(l store.DeadLetter) bool { return l.N == n })
	if at < 0 {
		return &store.DeadLetter{}, store.ErrNoDeadLetter
	}
	return &s.letters[at], s.fails
}

func (s *shelf) DeadLetter(_ context.Context, n uint64) (store.DeadLetter, error) {
	l, err := s.find(n)
	return *l, err
}

func (s *shelf) DeadLetters(_ context.Context, query store.DeadQuery) (some []store.DeadLetter, err error) {
	for _, l := range s.letters {
		resolution := l.Decision.Resolution
		if resolution == "" {
			resolution = store.Open
		}
		if l.N > query.After && len(some) < query.Limit && (query.Origin == "" || query.Origin == l.Origin) &&
			(query.Resolution == "" || query.Resolution == resolution) {
			some = append(some, l)
		}
	}
	return some, s.fails
}

func (s *shelf) Decide(_ context.Context, n uint64, d store.Decision) (store.DeadLetter, error) {
	l, err := s.find(n)
	if err != nil {
		return *l, err
	}
	if l.Decision.Resolution != "" {
		return *l, store.ErrDecided
	}
	l.Decision = d
	return *l, nil
}

func (*shelf) Bury(context.Context, []store.DeadLetter) (int, error)   { panic("nobody buries here") }
func (*shelf) Untold(context.Context, int) ([]store.DeadLetter, error) { panic("nobody tells here") }
func (*shelf) Told(context.Context, []uint64) error                    { panic("nobody tells here") }
