package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
	"github.com/ticketed/doorman/deploy"
)

// tailing runs tail until the test stops it.
type tailing struct {
	out, notes *watched
	cancel     context.CancelFunc
	code       chan int
}

func startTail(t *testing.T, url string, args ...string) *tailing {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	run := &tailing{out: newWatched(), notes: newWatched(), cancel: cancel, code: make(chan int, 1)}
	streams := Streams{In: strings.NewReader(""), Out: run.out, Err: run.notes}
	go func() { run.code <- Run(ctx, streams, append([]string{"tail", "--url", url}, args...), builtIn()...) }()
	return run
}

// stop interrupts it and gives what it wrote, without the times.
func (r *tailing) stop(t *testing.T) []string {
	t.Helper()
	r.cancel()
	require.Equal(t, ExitOK, <-r.code, r.notes.text.String())
	var lines []string
	for line := range strings.Lines(r.out.text.String()) {
		_, told, _ := strings.Cut(strings.TrimSpace(line), "  ")
		lines = append(lines, strings.Join(strings.Fields(told), " "))
	}
	return lines
}

func TestTailTellsALineForEachLanding(t *testing.T) {
	t.Parallel()
	url := server(t)
	lines := chain(4)
	require.Equal(t, ExitOK, send(t, url, lines[:2]).code)
	tail := startTail(t, url, "document/1@1", "document/2", "nothing/1")
	tail.out.line(t, "nothing has happened yet")
	tail.out.line(t, "v2")
	lines[2] = strings.Replace(lines[2], `"type"`, `"actor":"Ann","type"`, 1)
	require.Equal(t, ExitOK, send(t, url, lines[2:]).code)
	tail.out.line(t, "v4")
	got := tail.stop(t)
	require.ElementsMatch(t, []string{
		"nothing/1 is not watched: unknown_type",
		"document/1 v2 patch: patched {\"n\":2}",
		"document/2 v0 nothing has happened yet",
		"document/1 v3 patch by Ann: patched {\"n\":3}",
		"document/1 v4 patch: patched {\"n\":4}",
	}, got)
	require.Regexp(t, `^To go on from here: --after \w+-\d+\n$`, tail.notes.text.String())
}

func TestTailGoesOnFromAMark(t *testing.T) {
	t.Parallel()
	lines := chain(4)
	for _, args := range [][]string{{"document/1"}, {}} {
		url := server(t)
		require.Equal(t, ExitOK, send(t, url, lines[:2]).code)
		tail := startTail(t, url, append(args, "--after", mark(t, url))...)
		require.Equal(t, ExitOK, send(t, url, lines[2:3]).code)
		tail.out.line(t, " v3 ")
		got := tail.stop(t)
		require.Equal(t, []string{"document/1 v3 patch: patched {\"n\":3}"}, got)
		_, place, _ := strings.Cut(strings.TrimSpace(tail.notes.text.String()), "--after ")

		require.Equal(t, ExitOK, send(t, url, lines[3:]).code)
		tail = startTail(t, url, append(args, "--after", place)...)
		tail.out.line(t, " v4 ")
		got = tail.stop(t)
		require.Equal(t, "document/1 v4 patch: patched {\"n\":4}", got[len(got)-1])
	}
}

// mark is where document/1 is now.
func mark(t *testing.T, url string) string {
	t.Helper()
	c, err := client.New(client.Config{BaseURL: url})
	require.NoError(t, err)
	view, err := c.Stream(t.Context(), commands.Stream{Type: "document", ID: "1"})
	require.NoError(t, err)
	return view.Position.String()
}

func TestTailTellsASessionOfItsCommands(t *testing.T) {
	t.Parallel()
	url := server(t)
	tail := startTail(t, url, "--session", "tab", "--json")
	require.Equal(t, ExitOK, send(t, url, chain(1)).code)
	inTab := func(n, ticket int) string {
		return strings.Replace(command(n, "patch", numbered(ticket), `{}`), `"type"`, `"session":"tab","type"`, 1)
	}
	// Commands are told from the opening on, which only its first line proves: the session's wait until then.
	waiting := make(chan result, 1)
	go func() { waiting <- send(t, url, []string{inTab(3, 2)}) }() //nolint:testifylint // it only asserts what cannot fail
	tail.out.line(t, `"event":"parked"`)
	require.Equal(t, ExitOK, send(t, url, []string{inTab(2, 1)}).code)
	require.Equal(t, ExitOK, (<-waiting).code)
	var push struct {
		Event string
		Data  struct{ ID, Stream string }
	}
	require.NoError(t, json.Unmarshal([]byte(tail.out.line(t, `"event":"landed","id":`)), &push))
	require.Equal(t, "document/1", push.Data.Stream)
	tail.out.line(t, `"event":"landed","data":{"id":"`+numbered(2))
	tail.cancel()
	require.Equal(t, ExitOK, <-tail.code)
}

// untilLine keeps what is written, and ends a context at a line that holds a text.
type untilLine struct {
	strings.Builder
	text string
	end  context.CancelFunc
}

func (u *untilLine) Write(line []byte) (int, error) {
	if strings.Contains(string(line), u.text) {
		u.end()
	}
	return u.Builder.Write(line)
}

// Every event of every stream is told once, in each stream's order, while streams change during the looking.
func TestTailOfEverything(t *testing.T) {
	t.Parallel()
	url := server(t)
	require.Equal(t, ExitOK, send(t, url, chain(1)).code)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, code := &untilLine{text: `{"last":1}`, end: cancel}, make(chan int, 1)
	args := []string{"tail", "--url", url, "--json", "--after", mark(t, url)}
	go func() { code <- Run(ctx, Streams{Out: out, Err: &strings.Builder{}}, args, builtIn()...) }()
	const streams, each = 250, 12 // several pages of the catalog
	var lines []string
	for v := 1; v <= each; v++ {
		for s := range streams {
			id := func(v int) string { return fmt.Sprintf("0197a000-0000-7000-8000-%06d%06d", s+1, v) }
			ticket, kind := "genesis", "create"
			if v > 1 {
				ticket, kind = id(v-1), "patch"
			}
			lines = append(lines, fmt.Sprintf(`{"id":%q,"stream":"document/s%d","type":%q,"ticket":%q,"data":{"n":%d}}`, id(v), s, kind, ticket, v))
		}
	}
	sent := send(t, url, lines, "--array", "50")
	require.Equal(t, ExitOK, sent.code, sent.err)
	require.Equal(t, ExitOK, send(t, url, []string{command(2, "patch", numbered(1), `{"last":1}`)}).code)
	require.Equal(t, ExitOK, <-code)
	versions := map[string]uint64{}
	for line := range strings.Lines(out.String()) {
		var push struct{ Data commands.PushView }
		require.NoError(t, json.Unmarshal([]byte(line), &push))
		v := push.Data
		name := v.Stream.String()
		require.Equal(t, v.Ticket, v.Command.ID)
		if name != "document/1" {
			require.Equal(t, versions[name]+1, v.Version, name)
			versions[name] = v.Version
		}
	}
	require.Len(t, versions, streams)
	for name, version := range versions {
		require.EqualValues(t, each, version, name)
	}
}

func TestTailOutlivesTheServer(t *testing.T) {
	t.Parallel()
	config := deploy.Defaults()
	config.Listen, config.AdminListen, config.DataDir = "127.0.0.1:0", "127.0.0.1:0", t.TempDir()
	config.Log = slog.New(slog.DiscardHandler)
	start := func() *deploy.Program {
		program, err := deploy.New(config, builtIn())
		require.NoError(t, err)
		require.NoError(t, program.Start(t.Context()))
		return program
	}
	program := start()
	url := program.URL()
	config.Listen = strings.TrimPrefix(url, "http://")
	lines := chain(4)
	require.Equal(t, ExitOK, send(t, url, lines[:1]).code)
	epoch, _, _ := strings.Cut(mark(t, url), "-")
	named, all := startTail(t, url, "document/1"), startTail(t, url, "--after", epoch+"-0")
	named.out.line(t, "v1")
	all.out.line(t, "v1")
	require.NoError(t, program.Stop())
	named.notes.line(t, "trying again")
	all.notes.line(t, "trying again")
	program = start()
	defer func() { require.NoError(t, program.Stop()) }()
	require.Equal(t, ExitOK, send(t, url, lines[1:]).code)
	named.out.line(t, "v4")
	all.out.line(t, "v4")
	told := []string{`document/1 v2 patch: patched {"n":2}`, `document/1 v3 patch: patched {"n":3}`, `document/1 v4 patch: patched {"n":4}`}
	require.Equal(t, append([]string{`document/1 v1 as it is now: {"n":1}`}, told...), named.stop(t))
	require.Equal(t, append([]string{`document/1 v1 create: created {"n":1}`}, told...), all.stop(t))
}

func TestTailTellsWrongUse(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"stream \"order\" is not type/id":    {"order"},
		"after the @ comes the version":      {"order/1@x"},
		"--deliver: \"all\" is none of":      {"order/1", "--deliver", "all"},
		"--deliver is about streams":         {"--deliver", "state"},
		"--after: position \"7\" is not":     {"--after", "7"},
		"--type is for following everything": {"order/1", "--type", "order"},
		"--url: \"x\" lacks http://":         {"--url", "x"},
	} {
		got := run(t, nil, "", append([]string{"tail"}, args...)...)
		require.Equal(t, ExitUsage, got.code, args)
		require.Contains(t, got.err, want)
	}
	got := run(t, nil, "", "tail", "--url", "http://127.0.0.1:1")
	require.Equal(t, ExitError, got.code)
	require.Contains(t, got.err, "start a server with 'doorman serve'")
	mute := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(mute.Close)
	got = run(t, nil, "", "tail", "--url", mute.URL)
	require.Equal(t, ExitError, got.code)
	require.Contains(t, got.err, "nobody answers at "+mute.URL+" (within 5s): start a server with 'doorman serve'")
	url := server(t)
	got = run(t, nil, "", "tail", "--url", url, "--type", "nothing")
	require.Equal(t, ExitError, got.code)
	require.Contains(t, got.err, "nothing")
}

func TestStreamsAreCompleted(t *testing.T) {
	t.Parallel()
	url := server(t)
	require.Equal(t, ExitOK, send(t, url, chain(1)).code)
	require.Eventually(t, func() bool {
		return strings.Contains(run(t, nil, "", "__complete", "tail", "--url", url, "").out, "document/1")
	}, time.Minute, 10*time.Millisecond, "the catalog follows the log")
	require.Contains(t, run(t, nil, "", "__complete", "tail", "--deliver", "").out, "events")
	require.NotContains(t, run(t, nil, "", "__complete", "tail", "--url", "http://127.0.0.1:1", "").out, "document")
}

func TestALineForPeople(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 8, 15, 30, 250e6, time.Local) //nolint:gosmopolitan // as a person is told
	order := commands.Stream{Type: "order", ID: "42"}
	id := commands.Genesis
	changes := make([]commands.ChangeView, 7)
	for i := range changes {
		changes[i] = commands.ChangeView{Version: uint64(i + 1), Type: "line_added", Data: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i))} //nolint:gosec // small
	}
	for want, push := range map[string]client.Push{
		"order/42                    v7  add_line by Ann (ticket unchecked): 2 earlier, line_added {\"n\":2}, line_added {\"n\":3}, line_added {\"n\":4}, line_added {\"n\":5}, line_added {\"n\":6} (7 landings)": {
			State: &commands.PushView{Stream: order, Version: 7, Events: changes, Merged: 7, Command: &commands.ActorView{Type: "add_line", Actor: "Ann", Override: true}}},
		"order/42                    v7  add_line: no events": {
			State: &commands.PushView{Stream: order, Version: 7, Events: changes[:0], Command: &commands.ActorView{Type: "add_line"}}},
		"order/42                    v7  as it is now: {\"lines\":7}": {
			State: &commands.PushView{Stream: order, Version: 7, Events: changes[:0], State: json.RawMessage(`{"lines":7}`)}},
		"order/42                        command genesis waits for genesis, until 08:15:30.250": {
			Parked: &commands.ParkedView{ID: id, Stream: order, WaitsFor: id, Until: at}},
		"order/42                    v7  command genesis was rejected: stale_ticket, Too late.": {
			Rejected: &commands.CommandView{ID: id, Stream: order, Version: 7, Reason: commands.StaleTicket, Detail: "Too late."}},
		"reset                           the server cannot go on from where this was (epoch): states follow anew, and something may have been missed": {
			Reset: &commands.ResetView{Reason: commands.ResetEpoch}},
		"order/42                        command genesis was not taken: id_conflict": {
			Refused: &commands.RefusedView{ID: id, Stream: order, Code: commands.IDConflict}},
	} {
		require.Equal(t, "08:15:30.250  "+want, pushLine(&push, false, at))
	}
	snapshot := client.Push{State: &commands.PushView{Stream: order, Version: 7, Events: changes[:0], State: json.RawMessage(`{"lines":7}`),
		Command: &commands.ActorView{Type: "add_line", Actor: "Ann"}}}
	require.Equal(t, "08:15:30.250  order/42                    v7  as it is now: {\"lines\":7}", pushLine(&snapshot, true, at))
	require.Equal(t, strings.Repeat("x", 100)+"…", short([]byte(strings.Repeat("x", 300))))
}
