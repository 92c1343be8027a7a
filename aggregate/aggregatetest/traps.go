package aggregatetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

// decide judges a command three times: twice from the state as it is, and once from the state as it would
// be read back from a store.
func (s *Story[S, E]) decide(command string, data []byte) ([]commands.Event, error) {
	s.t.Helper()
	before, sent := s.encode(s.state), slices.Clone(data)

	events, err := s.typ.Decide(s.state, command, data)
	s.knownError(command, err)
	first := verdict(events, err)
	if after := s.encode(s.state); !bytes.Equal(before, after) {
		s.t.Fatalf("deciding on %s changed the state it was given:\n  before %s\n  after  %s", command, before, after)
	}
	if !bytes.Equal(sent, data) {
		s.t.Fatalf("deciding on %s changed the command's data:\n  before %s\n  after  %s", command, sent, data)
	}
	if again := verdict(s.typ.Decide(s.state, command, data)); again != first {
		s.t.Fatalf("deciding on %s twice does not give the same:\n  first %s\n  then  %s", command, first, again)
	}
	if stored := verdict(s.typ.Decide(s.stored(s.state), command, data)); stored != first {
		s.t.Fatalf("deciding on %s gives something else once the state has been stored and read back:\n"+
			"  first %s\n  then  %s", command, first, stored)
	}
	return events, err
}

func (s *Story[S, E]) knownError(command string, err error) {
	s.t.Helper()
	var refusal *aggregate.Refusal
	var invalid *aggregate.InvalidError
	switch {
	case err == nil, errors.Is(err, aggregate.ErrUnknownCommand), errors.As(err, &refusal), errors.As(err, &invalid):
	default:
		s.t.Fatalf("deciding on %s broke: %v", command, err)
	}
}

func verdict(events []commands.Event, err error) string {
	if err != nil {
		return fmt.Sprintf("%T: %v", err, err)
	}
	return listing(events)
}

// after is the story with the events having happened.
func (s *Story[S, E]) after(events []commands.Event) *Story[S, E] {
	s.t.Helper()
	next := *s
	next.history = append(slices.Clip(s.history), events...)
	for _, e := range events {
		next.state = next.evolve(e)
	}
	return &next
}

// evolve applies an event twice from the state as it is, and once from the state as it would be read back.
func (s *Story[S, E]) evolve(e commands.Event) any {
	s.t.Helper()
	s.readBack(e)
	before := s.encode(s.state)

	state := s.apply(s.state, e)
	first := s.encode(state)
	if after := s.encode(s.state); !bytes.Equal(before, after) {
		s.t.Fatalf("applying %s changed the state it was given:\n  before %s\n  after  %s", e.Type, before, after)
	}
	if again := s.encode(s.apply(s.state, e)); !bytes.Equal(first, again) {
		s.t.Fatalf("applying %s twice to one state does not give the same:\n  first %s\n  then  %s",
			e.Type, first, again)
	}
	if stored := s.encode(s.apply(s.stored(s.state), e)); !bytes.Equal(first, stored) {
		s.t.Fatalf("applying %s gives something else once the state has been stored and read back:\n"+
			"  first %s\n  then  %s", e.Type, first, stored)
	}
	if stored := s.encode(s.stored(state)); !bytes.Equal(first, stored) {
		s.t.Fatalf("the state after %s is not what is read back once it has been stored:\n"+
			"  stored    %s\n  read back %s", e.Type, first, stored)
	}
	s.branch(e, state)
	return state
}

// branch makes other futures from the same state. A state that appends to the slice it was given shares
// its spare room with them, and is overwritten.
func (s *Story[S, E]) branch(e commands.Event, state any) {
	s.t.Helper()
	first := s.encode(state)
	for _, other := range s.history {
		s.tryApply(other)
		if after := s.encode(state); !bytes.Equal(first, after) {
			s.t.Fatalf("the state after %s shares memory with the one before it: applying %s to that one changed it\n"+
				"  before %s\n  after  %s", e.Type, other.Type, first, after)
		}
	}
}

// tryApply applies an event that may make no sense here.
func (s *Story[S, E]) tryApply(e commands.Event) {
	defer func() { _ = recover() }()
	_, _ = s.typ.Evolve(s.state, e)
}

// readBack: an event of the newest shape must be the same bytes once read and written again.
func (s *Story[S, E]) readBack(e commands.Event) {
	s.t.Helper()
	decoded, err := s.typ.DecodeEvent(e)
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	again, err := s.typ.EncodeEvent(decoded)
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	if again.Schema == e.Schema && !bytes.Equal(again.Data, e.Data) {
		s.t.Fatalf("event %s is not what is read back once it has been stored:\n  stored    %s\n  read back %s",
			e.Type, e.Data, again.Data)
	}
}

func (s *Story[S, E]) apply(state any, e commands.Event) any {
	s.t.Helper()
	next, err := s.typ.Evolve(state, e)
	if err != nil {
		s.t.Fatalf("applying %s broke: %v", e.Type, err)
	}
	return next
}

func (s *Story[S, E]) encode(state any) []byte {
	s.t.Helper()
	text, err := s.typ.EncodeState(state)
	if err != nil {
		s.t.Fatalf("the state cannot be encoded: %v", err)
	}
	return slices.Clone(text)
}

// stored is the state as a store would give it back.
func (s *Story[S, E]) stored(state any) any {
	s.t.Helper()
	back, err := s.typ.DecodeState(s.encode(state))
	if err != nil {
		s.t.Fatalf("the state cannot be read back: %v", err)
	}
	return back
}
