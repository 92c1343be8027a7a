package aggregate_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

var update = flag.Bool("update", false, "write the scenarios' golden output anew")

// A scenario file is a story in steps. A step is lines of input, a line of dashes, and what came of it;
// `go test ./aggregate -run Scenarios -update` writes that anew, and the difference is to be read.
//
//	send A2 on A1 [by SESSION] [under POLICY] [to STREAM] [do add|look|refuse|panic]
//	batch ... end      several sends judged in one round
//	wait 10s           the lanes are worked that long, then what is due expires
//	operator A2 why    an operator takes a parked command off
//	limits stream=2 session=3 all=5 round=10 park=30s
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			told := tellStory(t, string(text))
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(told), 0o644))
				return
			}
			require.Equal(t, string(text), told)
		})
	}
}

// tellStory plays the steps of a scenario and returns its text with the outputs as they are now.
func tellStory(t *testing.T, text string) string {
	var (
		out   strings.Builder
		stage = newStage()
		input []string
		skip  bool
	)
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "----":
			out.WriteString("----\n" + stage.play(t, input))
			input, skip = nil, true
		case line == "" || strings.HasPrefix(line, "#"):
			skip = false
			out.WriteString(line + "\n")
		case !skip:
			input = append(input, line)
			out.WriteString(line + "\n")
		default:
			require.True(t, strings.HasPrefix(line, "  "), "a blank line is missing before %q", line)
		}
	}
	require.Empty(t, input, "a step without a line of dashes")
	return out.String()
}

// stage is a worker and a store in miniature: instances, what is known of ids, a clock.
type stage struct {
	limits    aggregate.Limits
	kind      abacus
	instances map[commands.Stream]*aggregate.Instance
	known     known
	lot       *aggregate.Count
	clock     time.Duration
	seen      map[string]commands.Envelope
}

type known map[commands.ID]aggregate.Fact

func (k known) Fact(id commands.ID) (aggregate.Fact, bool) { return k[id], true }
func (k known) Learn(id commands.ID, fact aggregate.Fact)  { k[id] = fact }

func newStage() *stage {
	return &stage{limits: aggregate.DefaultLimits, kind: abacus{parkFor: 30 * time.Second}, known: known{},
		instances: map[commands.Stream]*aggregate.Instance{}, lot: &aggregate.Count{}, seen: map[string]commands.Envelope{}}
}

func (s *stage) round() *aggregate.Round {
	limits := s.limits
	return &aggregate.Round{Now: now.Add(s.clock), Limits: &limits, Facts: s.known, Lot: s.lot,
		Clock: func(commands.Stream) time.Duration { return s.clock }}
}

func (s *stage) instance(stream commands.Stream) *aggregate.Instance {
	if s.instances[stream] == nil {
		s.instances[stream] = aggregate.NewInstance(s.kind, stream)
	}
	return s.instances[stream]
}

func (s *stage) play(t *testing.T, lines []string) string {
	var (
		out   strings.Builder
		batch *aggregate.Round
	)
	finish := func(r *aggregate.Round) {
		for {
			r.Finish()
			out.WriteString(s.tell(r))
			left := false
			next := s.round()
			for _, inst := range s.instances {
				left = !next.Resume(inst) || left
			}
			if !left && len(next.Result.Outcomes) == 0 {
				return
			}
			out.WriteString("  (next round)\n")
			r = next
		}
	}
	for _, line := range lines {
		words := strings.Fields(line)
		switch words[0] {
		case "send":
			env := s.envelope(t, words[1:])
			r := batch
			if r == nil {
				r = s.round()
			}
			require.Equal(t, aggregate.Taken, r.Take(s.instance(env.Stream), &env), line)
			if batch == nil {
				finish(r)
			}
		case "batch":
			batch = s.round()
		case "end":
			finish(batch)
			batch = nil
		case "wait":
			step, err := time.ParseDuration(words[1])
			require.NoError(t, err)
			s.clock += step
			r := s.round()
			for _, stream := range []commands.Stream{streamOf("a"), streamOf("b")} {
				inst := s.instance(stream)
				for n := range 1000 {
					r.Expire(inst, name(t, fmt.Sprintf("%c%d", 'A'+n/100, n%100)))
				}
			}
			finish(r)
		case "operator":
			r := s.round()
			was, progress := r.RejectParked(s.instance(streamOf("a")), name(t, words[1]), strings.Join(words[2:], " "))
			require.True(t, was)
			require.Equal(t, aggregate.Taken, progress)
			finish(r)
		case "limits":
			s.setLimits(t, words[1:])
		default:
			require.Fail(t, "no such step", line)
		}
	}
	return out.String()
}

func (s *stage) setLimits(t *testing.T, words []string) {
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		if key == "park" {
			d, err := time.ParseDuration(value)
			require.NoError(t, err)
			s.kind.parkFor = d
			for _, inst := range s.instances {
				inst.Type = s.kind
			}
			continue
		}
		n, err := strconv.Atoi(value)
		require.NoError(t, err)
		*map[string]*int{"stream": &s.limits.ParkedPerStream, "session": &s.limits.ParkedPerSession,
			"all": &s.limits.Parked, "round": &s.limits.Round}[key] = n
	}
}

func (s *stage) envelope(t *testing.T, words []string) commands.Envelope {
	c := commands.Command{ID: name(t, words[0]), Stream: streamOf("a"), Type: "add"}
	require.Zero(t, len(words)%2-1, "words come in pairs: %v", words)
	for i := 1; i+1 < len(words); i += 2 {
		value, ok := words[i+1], true
		switch words[i] {
		case "on":
			c.Ticket = name(t, value)
		case "by":
			c.Session = value
		case "under":
			c.Policy, ok = commands.ParsePolicy(value)
		case "to":
			c.Stream = streamOf(value)
		case "do":
			c.Type = value
		default:
			ok = false
		}
		require.True(t, ok, "%s %s", words[i], value)
	}
	return commands.Seal(c, now)
}

func (s *stage) tell(r *aggregate.Round) string {
	var out strings.Builder
	for _, a := range r.Result.Answers {
		fmt.Fprintf(&out, "  %s %s\n", nameOf(a.ID), map[aggregate.Ruling]string{aggregate.Repeat: "repeat", aggregate.Conflict: "id_conflict"}[a.Ruling])
	}
	for _, o := range r.Result.Outcomes {
		switch {
		case o.Landed():
			fmt.Fprintf(&out, "  %s landed @%d\n", nameOf(o.ID), o.Version)
		case o.Root == o.ID:
			fmt.Fprintf(&out, "  %s rejected %s: %s\n", nameOf(o.ID), o.Reason, hideIDs(o.Detail))
		default:
			cascade := ""
			if o.Cascaded {
				cascade = " in one cascade"
			}
			fmt.Fprintf(&out, "  %s rejected %s, root %s %s%s\n", nameOf(o.ID), o.Reason, nameOf(o.Root), o.RootReason, cascade)
		}
	}
	for _, w := range r.Result.Park {
		fmt.Fprintf(&out, "  %s parked on %s until %s\n", nameOf(w.ID), nameOf(w.Ticket), w.Deadline)
	}
	for _, w := range r.Result.Extend {
		fmt.Fprintf(&out, "  %s waits until %s now\n", nameOf(w.ID), w.Deadline)
	}
	return out.String()
}

func streamOf(id string) commands.Stream { return commands.Stream{Type: "tally", ID: id} }

// name makes an id of a letter and a number, as A12; letters are for whose it is.
func name(t *testing.T, text string) commands.ID {
	if text == "genesis" {
		return commands.Genesis
	}
	n, err := strconv.Atoi(text[1:])
	require.NoError(t, err)
	return commands.ID{0: text[0], 15: byte(n)}
}

func nameOf(id commands.ID) string {
	if id == commands.Genesis {
		return "genesis"
	}
	return fmt.Sprintf("%c%d", id[0], id[15])
}

// hideIDs replaces the texts of ids in a sentence by their names.
func hideIDs(text string) string {
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '(' || r == ')' || r == ',' })
	for _, word := range words {
		if id, ok := commands.ParseID(word); ok {
			text = strings.ReplaceAll(text, word, nameOf(id))
		}
	}
	return text
}

// abacus is a type whose code does what a command's name says.
type abacus struct{ parkFor time.Duration }

func (abacus) Name() string { return "tally" }
func (k abacus) Settings() aggregate.Settings {
	return aggregate.Settings{ParkFor: k.parkFor, SessionWindow: aggregate.DefaultSessionWindow}
}
func (abacus) Commands() []aggregate.CommandInfo   { return nil }
func (abacus) Events() []aggregate.EventInfo       { return nil }
func (abacus) Allows(commands.Policy, string) bool { return true }
func (abacus) Initial() any                        { return 0 }
func (abacus) Decide(_ any, command string, _ []byte) ([]commands.Event, error) {
	switch command {
	case "add":
		return []commands.Event{{Type: "added", Schema: 1, Data: []byte("1")}}, nil
	case "look":
		return nil, nil
	case "refuse":
		return nil, aggregate.Refuse("not_today", "come back tomorrow")
	case "panic":
		panic("on purpose")
	case "break":
		return nil, errors.New("broken")
	}
	return nil, aggregate.ErrUnknownCommand
}
func (abacus) Evolve(state any, _ commands.Event) (any, error) { return state.(int) + 1, nil }
func (abacus) EncodeState(state any) ([]byte, error) {
	return strconv.AppendInt(nil, int64(state.(int)), 10), nil
}
func (abacus) DecodeState(data []byte) (any, error) { return strconv.Atoi(string(data)) }
