package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
	"github.com/ticketed/doorman/commands/problem"
	"github.com/ticketed/doorman/deploy"
	"github.com/ticketed/doorman/projections/admin"
)

// fragile is a type whose code breaks until it is mended.
func fragile(mended *atomic.Bool) aggregate.Type {
	type carried struct{}
	t := aggregate.Define[any]("vase", struct{}{}, aggregate.Settings{})
	aggregate.Handle(t, "carry", func(struct{}, struct{}) ([]any, error) {
		if !mended.Load() {
			panic("dropped\n\x1b[2Jit")
		}
		return []any{carried{}}, nil
	})
	aggregate.On(t, "carried", func(s struct{}, _ carried) struct{} { return s })
	return t.MustBuild()
}

// desk is a running program and a command line beside it.
type desk struct {
	t       *testing.T
	program *deploy.Program
	client  *client.Client
	mended  atomic.Bool
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t}
	config := deploy.Defaults()
	config.DataDir, config.Listen, config.AdminListen, config.LogLevel = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0", "error"
	var err error
	d.program, err = deploy.New(config, []aggregate.Type{fragile(&d.mended)})
	require.NoError(t, err)
	require.NoError(t, d.program.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, d.program.Stop()) })
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	d.client, err = client.New(client.Config{BaseURL: d.program.URL(), HTTP: &http.Client{Transport: transport}})
	require.NoError(t, err)
	return d
}

// run runs a command line of Olga's.
func (d *desk) run(args ...string) result {
	d.t.Helper()
	return run(d.t, []string{"USER=olga"}, "", append(args, "--admin-url", d.program.AdminURL())...)
}

func (d *desk) send(c commands.Command) *commands.CommandView {
	d.t.Helper()
	view, err := d.client.Send(d.t.Context(), c, client.SendOptions{})
	require.NoError(d.t, err)
	return &view
}

func carry(stream string, ticket commands.ID) commands.Command {
	return commands.Command{ID: commands.NewID(), Stream: commands.Stream{Type: "vase", ID: stream}, Type: "carry", Ticket: ticket,
		Actor: "Ann", Data: []byte(`{}`)}
}

func TestDeadLettersAreDecidedOnFromTheCommandLine(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	got := d.run("dead", "list")
	require.Equal(t, result{ExitOK, "", "There are none.\n"}, got)
	for _, stream := range []string{"1", "2", "3", "4"} {
		d.send(carry(stream, commands.Genesis))
	}
	got = d.run("dead", "list")
	require.Equal(t, ExitOK, got.code, got.err)
	require.Regexp(t, `^NUMBER  KEPT +WHAT +REASON  DECISION  CAUSE
1 +20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ  carry on vase/1 by Ann  failed  open +panic: dropped …
2 +`, got.out)
	require.NotContains(t, got.out, "\x1b")
	got = d.run("dead", "list", "--limit", "2", "--after", "1")
	require.Equal(t, "There are more: --after 3\n", got.err)
	require.Equal(t, 3, strings.Count(got.out, "\n"))

	got = d.run("dead", "show", "1")
	require.Equal(t, ExitOK, got.code, got.err)
	require.Regexp(t, `^Dead letter  1
kept         20\S+ \S+, \ds ago
what         carry on vase/1 by Ann
reason       failed
decision     open

Command:
  id        [0-9a-f-]{36}
  stream    vase/1
  type      carry
  ticket    genesis
  policy    ticket
  actor     Ann
  received  20\S+ \S+

Data:
  {}

Cause:
  panic: dropped
  .\[2Jit
`, got.out)
	require.Contains(t, got.out, "operators_test.go")
	require.NotContains(t, got.out, "\x1b")

	got = d.run("dead", "retry", "1", "--why", "let me see")
	require.Equal(t, ExitError, got.code)
	require.Regexp(t, `^1: retried as [0-9a-f-]{36}, rejected, failed: the code of the type vase broke on it`, got.out)
	require.Equal(t, "doorman: not all of that was done\n", got.err)
	d.mended.Store(true)
	got = d.run("dead", "retry", "5", "2", "77", "--why", "it is mended")
	require.Equal(t, ExitError, got.code)
	require.Regexp(t, `^5: retried as [0-9a-f-]{36}, landed: vase/1 is at version 1
2: retried as [0-9a-f-]{36}, landed: vase/2 is at version 1
$`, got.out)
	require.Equal(t, "77: not_found: there is no dead letter number 77, or none any more\ndoorman: not all of that was done\n", got.err)
	got = d.run("dead", "discard", "3", "4", "--why", "nobody needs it", "--by", "Ben")
	require.Equal(t, result{ExitOK, "3: discarded by Ben\n4: discarded by Ben\n", ""}, got)
	got = d.run("dead", "retry", "3", "--why", "I do")
	require.Equal(t, ExitError, got.code)
	require.Regexp(t, `^doorman: already_decided: Ben discarded it at \S+Z: nobody needs it\n$`, got.err)
	require.Equal(t, "There are none.\n", d.run("dead", "list").err)
	got = d.run("dead", "list", "--decision", "all")
	require.Contains(t, got.out, "retried by olga")

	got = d.run("dead", "show", "2", "--json")
	var letter admin.LetterView
	require.NoError(t, json.Unmarshal([]byte(got.out), &letter))
	require.Equal(t, "it is mended", letter.Decision.Why)
	require.Contains(t, d.run("dead", "show", "2").out, "\nDecided:\n  at   20")
	got = d.run("dead", "list", "--json", "--decision", "retried")
	var page admin.LettersView
	require.NoError(t, json.Unmarshal([]byte(got.out), &page))
	require.Len(t, page.Items, 3)
}

func TestParkedCommandsAreRejectedFromTheCommandLine(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	require.Equal(t, result{ExitOK, "", "There are none.\n"}, d.run("parked", "list"))
	first := carry("1", commands.NewID())
	second := carry("1", first.ID)
	other := carry("2", commands.NewID())
	for _, c := range []commands.Command{first, second, other} {
		d.send(c)
	}
	got := d.run("parked", "list")
	require.Equal(t, ExitOK, got.code, got.err)
	require.Regexp(t, `^ID +STREAM  TYPE   ACTOR  WAITS FOR +PARKED  EXPIRES\n`+first.ID.String()+`  vase/1  carry  Ann    `+first.Ticket.String()+
		`  \ds ago  in \d\ds\n`, got.out)
	require.Equal(t, 4, strings.Count(got.out, "\n"))
	got = d.run("parked", "list", "--stream", "vase/2")
	require.Equal(t, 2, strings.Count(got.out, "\n"))
	require.Equal(t, "There are more: --after ", d.run("parked", "list", "--limit", "1").err[:24])

	got = d.run("parked", "show", first.ID.String())
	require.Equal(t, ExitOK, got.code, got.err)
	require.Contains(t, got.out, "Parked     "+first.ID.String()+"\nstream     vase/1\n")
	require.Contains(t, got.out, "\nData:\n  {}\n\nOn it wait, directly or not:\nID  ")
	require.Contains(t, got.out, second.ID.String())
	require.Contains(t, d.run("parked", "show", second.ID.String()).out, "\nNothing waits on it.\n")

	got = d.run("parked", "reject", first.ID.String(), "--why", "a mistake")
	require.Equal(t, ExitOK, got.code, got.err)
	require.Regexp(t, `^carry on vase/1 is rejected at position \S+-1: rejected by olga: a mistake\n$`, got.out)
	require.Equal(t, ExitOK, d.run("parked", "reject", first.ID.String(), "--why", "once more").code)
	got = d.run("parked", "reject", second.ID.String(), "--why", "a mistake")
	require.Equal(t, ExitError, got.code)
	require.Regexp(t, `^doorman: not_parked: it was rejected: predecessor_rejected, at position \S+-2\n$`, got.err)
	got = d.run("parked", "reject", commands.NewID().String(), "--why", "a mistake")
	require.Equal(t, ExitError, got.code)
	require.Equal(t, "doorman: not_found: nothing is known of this command, or not yet\n", got.err)
	got = d.run("parked", "reject", other.ID.String(), "--why", "a mistake", "--by", "Ben", "--json")
	var view commands.CommandView
	require.NoError(t, json.Unmarshal([]byte(got.out), &view))
	require.Equal(t, "rejected by Ben: a mistake", view.Detail)
	got = d.run("parked", "show", other.ID.String())
	require.Equal(t, ExitError, got.code)
	require.Contains(t, got.err, "it was rejected: rejected_by_operator")
}

func TestWhatOperatorsAskForWronglyIsTold(t *testing.T) {
	t.Parallel()
	id := commands.NewID().String()
	for want, args := range map[string][]string{
		`required flag(s) "why" not set`:                          {"dead", "retry", "1"},
		"--why: it is empty":                                      {"dead", "discard", "1", "--by", "Olga", "--why", " "},
		"who decides it is not known":                             {"parked", "reject", id, "--why", "a"},
		`"x" is not the number of a dead letter`:                  {"dead", "show", "x"},
		`"-x" is not the number of a dead letter`:                 {"dead", "retry", "1", "--by", "a", "--why", "b", "--", "-x"},
		`"x" is not the id of a command`:                          {"parked", "show", "x"},
		"accepts 1 arg(s), received 0":                            {"parked", "reject", "--why", "a"},
		"requires at least 1 arg(s)":                              {"dead", "retry", "--why", "a"},
		`"localhost:1" lacks http:// or https://`:                 {"dead", "list", "--admin-url", "localhost:1"},
		`unknown command "nosuch" for "doorman dead"`:             {"dead", "nosuch"},
		`unknown command "nosuch" for "doorman parked"`:           {"parked", "nosuch"},
		`--limit: "x" is not a whole number` + "\n":               {"dead", "list", "--limit", "x"},
		`--after: "x" is not a whole number that is not below 0`:  {"dead", "list", "--after", "x"},
		`--after: "-1" is not a whole number that is not below 0`: {"parked", "list", "--after", "-1"},
		`--admin-url: "" lacks http:// or https://`:               {"dead", "list", "--admin-url", ""},
	} {
		got := run(t, nil, "", args...)
		require.Equal(t, ExitUsage, got.code, "%v: %s", args, got.err)
		require.Contains(t, got.err, want)
	}
}

// anotherURL is what to do about every address at which no operators are answered.
const anotherURL = "name the address for operators of a server that has the role gateway, which is not its address for clients, " +
	"with --admin-url or, as that server has it, DOORMAN_ADMIN_LISTEN\n"

func TestAServerThatIsNotThereForOperatorsIsTold(t *testing.T) {
	t.Parallel()
	got := run(t, nil, "", "dead", "list", "--admin-url", "http://127.0.0.1:1")
	require.Equal(t, ExitError, got.code)
	require.Regexp(t, `^doorman: no server answers operators at http://127.0.0.1:1 \(.*connection refused\): start one with 'doorman serve', or `+
		anotherURL+`$`, got.err)
	got = run(t, []string{"DOORMAN_ADMIN_LISTEN=:1"}, "", "parked", "list")
	require.Regexp(t, `^doorman: no server answers operators at http://127.0.0.1:1, by admin_listen of environment DOORMAN_ADMIN_LISTEN `+
		`\(.*connection refused\): start one with 'doorman serve', or `, got.err)
	got = run(t, []string{"DOORMAN_ADMIN_LISTEN=1"}, "", "parked", "list")
	require.Equal(t, ExitUsage, got.code)
	require.Contains(t, got.err, `admin_listen (environment DOORMAN_ADMIN_LISTEN): "1" is not an address`)

	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	got = run(t, nil, "", "dead", "list", "--admin-url", other.URL)
	require.Equal(t, ExitError, got.code)
	require.Equal(t, "doorman: GET "+other.URL+"/admin/v1/dead was answered 404 Not Found: "+anotherURL, got.err)

	d := newDesk(t)
	got = d.run("dead", "list", "--limit", "5000")
	require.Equal(t, ExitError, got.code)
	require.Equal(t, "doorman: malformed: the query parameter \"limit\" must be a whole number from 1 to 1000\n", got.err)
}

// The address for clients knows nothing of operators, which is not to be taken for an answer about what they ask for.
func TestTheAddressForClientsIsNotTakenForThatForOperators(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	id := commands.NewID().String()
	for path, args := range map[string][]string{
		"GET */dead":                      {"dead", "list"},
		"GET */dead/7":                    {"dead", "show", "7"},
		"POST */dead/7/retry":             {"dead", "retry", "7", "8", "9", "--by", "Olga", "--why", "a mistake"}, // told once
		"GET */parked":                    {"parked", "list"},
		"POST */parked/" + id + "/reject": {"parked", "reject", id, "--by", "Olga", "--why", "a mistake"},
	} {
		got := run(t, nil, "", append(args, "--admin-url", d.program.URL())...)
		require.Equal(t, ExitError, got.code)
		method, below, _ := strings.Cut(path, " *")
		require.Equal(t, fmt.Sprintf("doorman: %s %s/admin/v1%s was answered 404 Not Found (There is no address /admin/v1%s here.): %s",
			method, d.program.URL(), below, below, anotherURL), got.err)
	}
}

func TestAHostThatOperatorsMayNotAskForIsTold(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		problem.Write(w, problem.New(commands.Forbidden, `nothing is answered here to who asks for the host "doorman.example.org": `+
			"ask for an IP address, localhost, or a name that is configured (admin_hosts)"))
	}))
	defer server.Close()
	got := run(t, nil, "", "dead", "list", "--admin-url", server.URL)
	require.Equal(t, ExitError, got.code)
	require.Equal(t, "doorman: GET "+server.URL+`/admin/v1/dead was answered 403 Forbidden: nothing is answered here to who asks for the host `+
		`"doorman.example.org": ask for an IP address, localhost, or a name that is configured (admin_hosts); so give --admin-url with the `+
		"IP address, or add the name to DOORMAN_ADMIN_HOSTS of the server\n", got.err)
}

// Who set the address of a server's operators by environment or file need not say it again.
func TestOperatorsAreAskedForWhereTheServerIsConfiguredToAnswerThem(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	listen := strings.TrimPrefix(d.program.AdminURL(), "http://")
	file := filepath.Join(t.TempDir(), "doorman.yaml")
	require.NoError(t, os.WriteFile(file, []byte("admin_listen: "+listen+"\n"), 0o600))
	none := result{ExitOK, "", "There are none.\n"}
	require.Equal(t, none, run(t, []string{"DOORMAN_ADMIN_LISTEN=" + listen}, "", "dead", "list"))
	require.Equal(t, none, run(t, []string{"DOORMAN_CONFIG=" + file}, "", "parked", "list"))
	require.Equal(t, none, run(t, nil, "", "parked", "list", "--config", file))
	require.Equal(t, none, run(t, []string{"DOORMAN_ADMIN_LISTEN=127.0.0.1:1"}, "", "dead", "list", "--admin-url", d.program.AdminURL()))
}

// What is not known in time is not taken for done.
func TestAnOrderOfWhichNothingIsKnownYetIsNotDone(t *testing.T) {
	t.Parallel()
	id := commands.NewID()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		view := commands.CommandView{ID: id, Stream: commands.Stream{Type: "vase", ID: "1"}, Type: "carry", Status: commands.StatusParked, WaitsFor: id}
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write(view.AppendTo(nil))
	}))
	defer server.Close()
	got := run(t, nil, "", "parked", "reject", id.String(), "--by", "Olga", "--why", "a mistake", "--admin-url", server.URL)
	require.Equal(t, ExitError, got.code)
	require.Empty(t, got.out)
	require.Equal(t, "doorman: the order was sent, and what became of it is not known yet; to give it again does no harm\n", got.err)
}

func TestLettersAreShownReadably(t *testing.T) {
	t.Parallel()
	at := func(minutes int) admin.Moment {
		return admin.Moment(time.Date(2026, 3, 1, 12, minutes, 0, 0, time.UTC))
	}
	message := &admin.LetterView{N: 12, At: at(0), Reason: commands.UnknownType, Cause: "no streams of the type bag are kept here",
		Message: &admin.MessageView{Size: 1234567, ContentType: "application/json", MessageID: "m-1\x1b[2J", UserID: "shop",
			Exchange: "doorman.commands", RoutingKey: "any", Properties: []byte(`{"app_id":"shop"}`),
			Payload: admin.Payload{Data: []byte(`{"stream":"bag/1","data":{"n":[1,2]}}`)}},
		Decision: &admin.DecisionView{Resolution: "retried", At: at(5), By: "Olga", Why: "the type is served now", RetriedAs: commands.ID{1}},
		Retried:  &commands.CommandView{ID: commands.ID{1}, Status: commands.StatusParked, WaitsFor: commands.ID{2}}}
	frame := &admin.LetterView{N: 13, At: at(0), Reason: commands.Malformed, Cause: "frame is corrupt at byte 0:\n\tnothing there",
		Frame: &admin.FrameView{Size: 99}}
	text := &admin.LetterView{N: 14, At: at(0), Reason: commands.Malformed, Cause: "the text ends",
		Message:  &admin.MessageView{Size: 2049, Payload: admin.Payload{Text: "{\"a\":\n\t\x1b[2J"}},
		Decision: &admin.DecisionView{Resolution: "discarded", At: at(5), By: "Ben", Why: "noise"}}
	binary := &admin.LetterView{N: 15, At: at(0), Reason: commands.Malformed, Message: &admin.MessageView{Size: 3, Payload: admin.Payload{Base64: []byte{1, 2, 3}}}}
	var all strings.Builder
	for _, l := range []*admin.LetterView{message, frame, text, binary} {
		all.WriteString(letterText(l, time.Time(at(59)).Add(70*time.Hour)) + "\n--------\n")
	}
	golden(t, "letters.txt", all.String())
	for d, want := range map[time.Duration]string{
		20 * time.Second: "20s", 90 * time.Second: "1 min", 100 * time.Minute: "1 h", 47 * time.Hour: "47 h", 80 * time.Hour: "3 days",
	} {
		require.Equal(t, want, rough(d))
	}
	require.Equal(t, strings.Repeat("ö", 9)+"…", brief(strings.Repeat("ö", 20), 10))
}
