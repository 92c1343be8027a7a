package chains

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

// Chain are commands for one stream of their own, each with the one before it as its predecessor.
type Chain []Step

// Step is one command of a chain.
type Step struct {
	Info aggregate.CommandInfo
	Data []byte // what to send; nil for none
	// Reason is why it lands nowhere: Refused, Invalid, or Failed where its code broke or could not be run;
	// empty for one that lands. Detail says it for a person.
	Reason commands.Reason
	Detail string
	Events []commands.Event // what comes of one that lands
}

// Lands tells whether the command lands where it stands.
func (s *Step) Lands() bool { return s.Reason == "" }

// The bounds of a search. A type that needs more than that to show a command has that command shown alone.
const (
	maxStates = 64
	within    = time.Second
)

// All are the chains of every type, by its name.
func All(types *aggregate.Registry) map[string][]Chain {
	all := map[string][]Chain{}
	for _, t := range types.Types() {
		all[t.Name()] = Of(t)
	}
	return all
}

// Of are the chains of a type. Each of its commands is in one of them, some in several.
func Of(t aggregate.Type) []Chain { return of(t, within) }

func of(t aggregate.Type, within time.Duration) []Chain {
	found := make(chan []Chain, 1)
	go func() {
		s := &search{typ: t, infos: t.Commands(), until: time.Now().Add(within)}
		s.explore()
		found <- s.chains()
	}()
	// Code that does not end is left behind, as there is no way to end it.
	patience := time.NewTimer(within + within/2)
	defer patience.Stop()
	select {
	case chains := <-found:
		return chains
	case <-patience.C:
		return untried(t)
	}
}

// untried shows every command by itself.
func untried(t aggregate.Type) []Chain {
	var chains []Chain
	for _, info := range t.Commands() {
		chains = append(chains, Chain{{
			Info: info, Data: info.Example, Reason: commands.Failed, Detail: errTooLong.Error(),
		}})
	}
	return chains
}

// search is the part of a type's states that its examples lead to.
type search struct {
	typ   aggregate.Type
	infos []aggregate.CommandInfo
	until time.Time
	late  bool // time ran out before everything was tried
	nodes []*node
	byKey map[string]int
}

// node is one state, and what each of the commands comes to there.
type node struct {
	state any
	tried []trial // by command; shorter when time ran out
}

type trial struct {
	lands  bool
	next   int // the state it leads to
	events []commands.Event
	err    error
}

// explore finds states from the initial one on, nearest first.
func (s *search) explore() {
	s.byKey = map[string]int{}
	if !s.begin() {
		return
	}
	for at := 0; at < len(s.nodes); at++ { //nolint:intrange // there are more with each round
		n := s.nodes[at]
		for _, info := range s.infos {
			if s.late = time.Now().After(s.until); s.late {
				return
			}
			n.tried = append(n.tried, s.try(n.state, info))
		}
	}
}

// begin finds the initial state, which is code of the type as well.
func (s *search) begin() (found bool) {
	defer func() {
		if broken := recover(); broken != nil {
			found = false
		}
	}()
	_, err := s.node(s.typ.Initial())
	return err == nil
}

var (
	errTooMany = errors.New("its examples lead to too many states")
	errTooLong = errors.New("trying the examples of this type took too long")
)

// node is the number of a state, a new one where it has not been met.
func (s *search) node(state any) (int, error) {
	key, err := s.typ.EncodeState(state)
	if err != nil {
		return 0, fmt.Errorf("encode a state: %w", err)
	}
	if known, met := s.byKey[string(key)]; met {
		return known, nil
	}
	if len(s.nodes) == maxStates {
		return 0, errTooMany
	}
	s.byKey[string(key)] = len(s.nodes)
	s.nodes = append(s.nodes, &node{state: state})
	return len(s.nodes) - 1, nil
}

// try plays one example on a state.
func (s *search) try(state any, info aggregate.CommandInfo) (t trial) {
	defer func() {
		if broken := recover(); broken != nil {
			t = trial{err: errors.New("the code of the type breaks on it")}
		}
	}()
	events, err := s.typ.Decide(state, info.Name, info.Example)
	for _, event := range events {
		if err == nil {
			state, err = s.typ.Evolve(state, event)
		}
	}
	if err != nil {
		return trial{err: err}
	}
	next, err := s.node(state)
	return trial{lands: err == nil, next: next, events: events, err: err}
}

// chains puts every command into a chain: as many as possible into each, then those that are left.
func (s *search) chains() []Chain {
	var all []Chain
	left := make([]bool, len(s.infos)) // not shown yet
	for i := range left {
		left[i] = true
	}
	for {
		path, found := s.wayTo(left)
		if !found {
			break
		}
		var chain Chain
		at := 0
		land := func(c int) {
			t := s.nodes[at].tried[c]
			step := s.step(c, nil)
			step.Events = t.events
			chain, at = append(chain, step), t.next
		}
		for _, c := range path {
			land(c)
		}
		for c := s.best(at, left); c >= 0; c = s.best(at, left) {
			land(c)
			left[c] = false
		}
		all = append(all, chain)
	}
	for c := range s.infos {
		if left[c] {
			all = append(all, Chain{s.step(c, s.whyNot(c))})
		}
	}
	return all
}

// best is, of the commands that are left and land on a state, the one after which most of the others do.
func (s *search) best(at int, left []bool) int {
	best, most := -1, -1
	for c, t := range s.nodes[at].tried {
		if !left[c] || !t.lands {
			continue
		}
		others := 0
		for other, then := range s.nodes[t.next].tried {
			if other != c && left[other] && then.lands {
				others++
			}
		}
		if others > most {
			best, most = c, others
		}
	}
	return best
}

// wayTo is the shortest way to a state on which a command that is left lands.
func (s *search) wayTo(left []bool) (path []int, found bool) {
	type place struct {
		at   int
		path []int
	}
	if len(s.nodes) == 0 {
		return nil, false
	}
	seen := map[int]bool{0: true}
	for queue := []place{{}}; len(queue) > 0; queue = queue[1:] {
		p := queue[0]
		if s.best(p.at, left) >= 0 {
			return p.path, true
		}
		for c, t := range s.nodes[p.at].tried {
			if t.lands && !seen[t.next] {
				seen[t.next] = true
				queue = append(queue, place{t.next, append(slices.Clip(p.path), c)})
			}
		}
	}
	return nil, false
}

// whyNot is what a command that lands nowhere comes to on a new stream.
func (s *search) whyNot(c int) error {
	if len(s.nodes) > 0 && c < len(s.nodes[0].tried) {
		return s.nodes[0].tried[c].err
	}
	if s.late {
		return errTooLong
	}
	return errors.New("it could not be tried")
}

func (s *search) step(c int, err error) Step {
	step := Step{Info: s.infos[c], Data: s.infos[c].Example}
	if err == nil {
		return step
	}
	step.Reason, step.Detail = commands.Failed, err.Error()
	if refusal, ok := errors.AsType[*aggregate.Refusal](err); ok {
		step.Reason, step.Detail = commands.Refused, refusal.Message
	}
	if invalid, ok := errors.AsType[*aggregate.InvalidError](err); ok {
		step.Reason, step.Detail = commands.Invalid, invalid.Error()
	}
	return step
}
