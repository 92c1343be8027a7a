package cli

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// errWrite: what is told cannot be told on.
var errWrite = errors.New("write what was told")

// tailLines writes a line for each push.
type tailLines struct {
	out  io.Writer
	json bool
	mark commands.Position // up to which all has been written
	line []byte

	awaited map[commands.Stream]struct{} // of which the state as it is comes first
	watch   *client.Watch
}

func newTailLines(out io.Writer, json bool, watch *client.Watch) *tailLines {
	t := &tailLines{out: out, json: json, mark: watch.After, watch: watch, awaited: map[commands.Stream]struct{}{}}
	for _, w := range watch.Streams {
		if w.Since == client.SinceSnapshot || w.Since == client.SinceMark && watch.After == (commands.Position{}) {
			t.awaited[w.Stream] = struct{}{}
		}
	}
	return t
}

// snapshot tells whether a push says how a stream is, rather than what has just happened to it: such a one
// names the last command too, and looks like a landing without events.
func (t *tailLines) snapshot(p *client.Push) bool {
	switch {
	case p.Reset != nil:
		for _, w := range t.watch.Streams {
			t.awaited[w.Stream] = struct{}{}
		}
	case p.Refused != nil && p.Refused.ID == commands.None:
		t.awaited[p.Refused.Stream] = struct{}{} // if it is ever told, then from the beginning
	case p.State != nil:
		_, awaited := t.awaited[p.State.Stream]
		delete(t.awaited, p.State.Stream)
		return awaited && len(p.State.Events) == 0
	}
	return false
}

func (t *tailLines) push(p *client.Push) error {
	snapshot := t.snapshot(p)
	moved := p.Mark != (commands.Position{}) && p.Mark != t.mark
	if p.Event != client.PushMark {
		if t.json {
			t.line = appendPush(t.line[:0], p, moved)
		} else {
			t.line = append(t.line[:0], pushLine(p, snapshot, time.Now())...)
		}
		if _, err := t.out.Write(append(t.line, '\n')); err != nil {
			return fmt.Errorf("%w: %w", errWrite, err)
		}
	}
	if moved || p.Event == commands.PushReset {
		t.mark = p.Mark
	}
	return nil
}

// appendPush appends a push as the items of a long poll are told: {"event","id","data"}.
func appendPush(b []byte, p *client.Push, marked bool) []byte {
	b = commands.AppendJSONString(append(b, `{"event":`...), p.Event)
	if marked {
		b = commands.AppendJSONString(append(b, `,"id":`...), p.Mark.String())
	}
	b = append(b, `,"data":`...)
	switch {
	case p.State != nil:
		b = p.State.AppendTo(b)
	case p.Parked != nil:
		b = p.Parked.AppendTo(b)
	case p.Landed != nil:
		b = p.Landed.AppendTo(b)
	case p.Rejected != nil:
		b = p.Rejected.AppendTo(b)
	case p.Reset != nil:
		b = p.Reset.AppendTo(b)
	case p.Refused != nil:
		b = p.Refused.AppendTo(b)
	}
	return append(b, '}')
}

// pushLine is a push for people: when, which stream, at which version, and what happened.
func pushLine(p *client.Push, snapshot bool, now time.Time) string {
	switch {
	case p.State != nil:
		return stateLine(p.State, snapshot, now)
	case p.Parked != nil:
		v := p.Parked
		return lineOf(now, v.Stream.String(), "", "command %s waits for %s, until %s", v.ID, v.WaitsFor, clock(v.Until))
	case p.Landed != nil:
		v := p.Landed
		return lineOf(now, v.Stream.String(), atVersion(v.Version), "command %s landed", v.ID)
	case p.Rejected != nil:
		v := p.Rejected
		return lineOf(now, v.Stream.String(), atVersion(v.Version), "command %s was rejected: %s, %s",
			v.ID, v.Reason, plain(v.Detail))
	case p.Reset != nil:
		return lineOf(now, "reset", "",
			"the server cannot go on from where this was (%s): states follow anew, and something may have been missed",
			plain(string(p.Reset.Reason)))
	case p.Refused != nil && p.Refused.ID != commands.None:
		return lineOf(now, p.Refused.Stream.String(), "", "command %s was not taken: %s", p.Refused.ID, plain(string(p.Refused.Code)))
	case p.Refused != nil:
		return lineOf(now, p.Refused.Stream.String(), "", "is not watched: %s", refusal(p.Refused))
	}
	return ""
}

// refusal says why a stream is not watched.
func refusal(v *commands.RefusedView) string {
	return strings.TrimSpace(plain(string(v.Code)) + " " + plain(v.Detail))
}

func stateLine(v *commands.PushView, snapshot bool, now time.Time) string {
	at := v.At
	if at.IsZero() {
		at = now
	}
	told := "as it is now"
	if v.Version == 0 {
		told = "nothing has happened yet"
	}
	landing := v.Command != nil && !snapshot
	if landing {
		told = plain(v.Command.Type)
		if v.Command.Actor != "" {
			told += " by " + plain(v.Command.Actor)
		}
		if v.Command.Override {
			told += " (ticket unchecked)"
		}
	}
	switch {
	case len(v.Events) > 0:
		told += ": " + eventsText(v.Events)
	case landing && v.Events != nil:
		told += ": no events"
	case v.State != nil && v.Version > 0:
		told += ": " + short(v.State)
	}
	if v.Merged > 1 {
		told += fmt.Sprintf(" (%d landings)", v.Merged)
	}
	return lineOf(at, v.Stream.String(), atVersion(v.Version), "%s", told)
}

// eventsText names the events, with their data where there is room.
func eventsText(events []commands.ChangeView) string {
	const most = 5
	left := len(events) - most
	events = events[max(0, left):]
	parts := make([]string, len(events))
	for i := range events {
		parts[i] = plain(events[i].Type) + " " + short(events[i].Data)
	}
	text := strings.Join(parts, ", ")
	if left > 0 {
		text = fmt.Sprintf("%d earlier, %s", left, text)
	}
	return text
}

func lineOf(at time.Time, stream, version, format string, args ...any) string {
	return fmt.Sprintf("%s  %-24s %5s  ", clock(at), stream, version) + fmt.Sprintf(format, args...)
}

func clock(at time.Time) string { return at.Local().Format("15:04:05.000") } //nolint:gosmopolitan // for the one who watches

func atVersion(version uint64) string { return "v" + strconv.FormatUint(version, 10) }

// short is the beginning of some JSON.
func short(data []byte) string {
	const most = 100
	text := []rune(plain(string(data[:min(len(data), 4*most)])))
	if len(text) <= most {
		return string(text)
	}
	return string(text[:most]) + "…"
}

// plain leaves nothing in a text that somebody else wrote by which it could take the terminal over.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}
