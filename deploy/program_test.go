package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/document"
	"github.com/ticketed/doorman/aggregate/order"
	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
	"github.com/ticketed/doorman/commands/problem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long anything may take that is bound to happen, on a busy machine.
const patience = time.Minute

func builtIn() []aggregate.Type { return []aggregate.Type{document.Type(), order.Type()} }

// local is a configuration with a folder of its own and ports of the system's choice.
func local(t *testing.T) *Config {
	t.Helper()
	c := Defaults()
	c.Listen, c.AdminListen = "127.0.0.1:0", "127.0.0.1:0"
	c.DataDir = t.TempDir()
	c.Log = slog.New(slog.NewTextHandler(testLog{t}, nil))
	return c
}

// testLog shows a program's log with the test that it belongs to.
type testLog struct{ t *testing.T }

func (l testLog) Write(line []byte) (int, error) {
	l.t.Log(strings.TrimSuffix(string(line), "\n"))
	return len(line), nil
}

func onPostgres(t *testing.T) *Config {
	t.Helper()
	c := local(t)
	c.PostgresURL, c.PostgresSchema = postgrestest.URL(), postgrestest.Schema(t)
	return c
}

// start runs a program until the test ends.
func start(t *testing.T, c *Config) (*Program, *caller) {
	t.Helper()
	p, err := New(c, builtIn())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop()) })
	require.NoError(t, p.Start(t.Context()))
	return p, newCaller(t, p.URL())
}

// caller makes requests and closes its connections in the end.
type caller struct {
	t    *testing.T
	url  string
	http *http.Client
	*client.Client
}

func newCaller(t *testing.T, url string) *caller {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	h := &http.Client{Transport: transport, Timeout: time.Minute}
	c, err := client.New(client.Config{BaseURL: url, HTTP: h})
	require.NoError(t, err)
	return &caller{t: t, url: url, http: h, Client: c}
}

// got is an answer, read to its end.
type got struct {
	status int
	header http.Header
	body   string
}

// do makes one request, with headers of the form "Name: value".
func (c *caller) do(method, path, body string, headers ...string) got {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	require.NoError(c.t, err)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		if r.Header.Set(name, value); name == "Host" {
			r.Host = value
		}
	}
	response, err := c.http.Do(r)
	require.NoError(c.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(c.t, err)
	return got{response.StatusCode, response.Header, string(text)}
}

var note = commands.Stream{Type: "document", ID: "note"}

func create(data string) commands.Command {
	return commands.Command{ID: commands.NewID(), Stream: note, Type: "create", Ticket: commands.Genesis, Data: []byte(data)}
}

func patch(ticket commands.ID, data string) commands.Command {
	return commands.Command{ID: commands.NewID(), Stream: note, Type: "patch", Ticket: ticket, Data: []byte(data)}
}

func TestAProgramServesOnEachStoreAndKeepsWhatItWasTold(t *testing.T) {
	t.Parallel()
	for name, configure := range map[string]func(*testing.T) *Config{"sqlite": local, "postgres": onPostgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := configure(t)
			p, call := start(t, c)
			require.NoError(t, call.Ready(t.Context()))

			first := create(`{"title":"Draft"}`)
			second := patch(first.ID, `{"title":"Report"}`)
			// The second comes first, is parked, and lands with the first.
			told, err := call.Send(t.Context(), second, client.SendOptions{})
			require.NoError(t, err)
			require.Equal(t, commands.StatusAccepted, told.Status)
			views, err := call.Status(t.Context(), second.ID, first.ID)
			require.NoError(t, err)
			require.Equal(t, commands.StatusParked, views[0].Status)
			require.Equal(t, first.ID, views[0].WaitsFor)
			require.Equal(t, commands.StatusUnknown, views[1].Status)
			told, err = call.Send(t.Context(), first, client.SendOptions{Wait: client.MaxWait})
			require.NoError(t, err)
			require.Equal(t, commands.StatusLanded, told.Status)
			told, err = call.Await(t.Context(), second.ID)
			require.NoError(t, err)
			require.Equal(t, uint64(2), told.Version)

			rejected, err := call.Send(t.Context(), patch(first.ID, `{}`), client.SendOptions{Wait: client.MaxWait})
			require.NoError(t, err)
			require.Equal(t, commands.StaleTicket, rejected.Reason)
			require.Equal(t, second.ID, rejected.Ticket)
			require.JSONEq(t, `{"title":"Report"}`, string(rejected.State))

			require.NoError(t, p.Stop())
			require.NoError(t, p.Stop(), "stopping twice is safe")
			_, err = call.http.Get(p.URL() + "/livez") //nolint:noctx,bodyclose // it is refused
			require.Error(t, err)

			_, call = start(t, c)
			stream, err := call.Stream(t.Context(), note)
			require.NoError(t, err)
			require.Equal(t, uint64(2), stream.Version)
			require.Equal(t, second.ID, stream.Ticket)
			require.JSONEq(t, `{"title":"Report"}`, string(stream.State))
		})
	}
}

func TestTheAddressesSayWhatTheyAre(t *testing.T) {
	t.Parallel()
	p, public := start(t, local(t))
	admin := newCaller(t, p.AdminURL())
	for _, call := range []*caller{public, admin} {
		live := call.do("GET", "/livez", "")
		require.Equal(t, 200, live.status)
		require.JSONEq(t, `{"status":"live"}`, live.body)
		ready := call.do("GET", "/readyz", "")
		require.Equal(t, 200, ready.status)
		require.JSONEq(t, `{"status":"ready"}`, ready.body)
		home := call.do("GET", "/", "")
		require.Equal(t, "text/plain; charset=utf-8", home.header.Get("Content-Type"))
		require.Contains(t, home.body, "Doorman")

		nowhere := call.do("GET", "/nowhere", "")
		require.Equal(t, 404, nowhere.status)
		require.Equal(t, problem.ContentType, nowhere.header.Get("Content-Type"))
		require.Contains(t, nowhere.body, `"code":"not_found"`)
		not := call.do("DELETE", "/livez", "")
		require.Equal(t, 405, not.status)
		require.Equal(t, "GET, HEAD", not.header.Get("Allow"))
		require.Contains(t, not.body, `"code":"method_not_allowed"`)
	}
	require.Equal(t, "GET, HEAD, POST", public.do("PUT", "/v1/commands", "{}").header.Get("Allow"))
	explained := public.do("GET", "/problems/stale_ticket", "")
	require.Equal(t, 200, explained.status)
	require.Contains(t, explained.body, "Somebody changed this first")
	require.JSONEq(t, `{"max_array":256,"max_body":262144,"max_depth":32,"max_watched":256,"parked_per_stream":256,
		"parked_per_session":1000,"parked":50000,"park_seconds":30}`, public.do("GET", "/v1/limits", "").body)
	require.Equal(t, 404, admin.do("GET", "/v1/limits", "").status, "operators' address")
	require.Equal(t, 404, public.do("GET", "/metrics", "").status, "clients' address")
}

func TestWhatIsCountedIsTold(t *testing.T) {
	t.Parallel()
	p, call := start(t, local(t))
	first := create(`{}`)
	for _, c := range []commands.Command{first, patch(first.ID, `{"a":1}`), patch(first.ID, `{"a":2}`), first} {
		_, err := call.Send(t.Context(), c, client.SendOptions{})
		require.NoError(t, err)
	}
	_, err := call.Send(t.Context(), create(`{}`), client.SendOptions{Wait: client.MaxWait})
	require.NoError(t, err)
	var text string
	require.Eventually(t, func() bool { // what was told a moment ago is counted in a moment
		text = newCaller(t, p.AdminURL()).do("GET", "/metrics", "").body
		return strings.Contains(text, "doorman_settle_seconds_count 4\n")
	}, 30*time.Second, 10*time.Millisecond)
	for _, line := range []string{
		`doorman_outcomes_total{reason="",status="landed",type="document"} 2`,
		`doorman_outcomes_total{reason="stale_ticket",status="rejected",type="document"} 2`,
		`doorman_repeats_total 1`,
		`doorman_http_requests_total{route="POST /v1/commands",status="202"} 4`,
		`doorman_http_requests_total{route="POST /v1/commands",status="409"} 1`,
		`doorman_accept_seconds_count 4`,
		`doorman_settle_seconds_bucket{le="60"} 4`,
		`doorman_parked 0`,
	} {
		require.Contains(t, text, line+"\n")
	}
	require.Contains(t, text, "doorman_commit_seconds_count")
	require.Contains(t, text, "go_goroutines")
}

func TestStoppingAnswersThoseWhoWait(t *testing.T) {
	t.Parallel()
	p, call := start(t, local(t))
	first := create(`{}`)
	_, err := call.Send(t.Context(), first, client.SendOptions{Wait: client.MaxWait})
	require.NoError(t, err)

	type reply struct {
		status int
		err    error
	}
	ask := func(method, path, body string, headers ...string) chan reply {
		done, sent := make(chan reply, 1), make(chan struct{})
		trace := httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { close(sent) }}
		r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), &trace), method, p.URL()+path, strings.NewReader(body))
		require.NoError(t, err)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		go func() {
			response, err := call.http.Do(r)
			if err != nil {
				done <- reply{err: err}
				return
			}
			_ = response.Body.Close()
			done <- reply{status: response.StatusCode}
		}()
		<-sent
		return done
	}
	parked := patch(commands.NewID(), `{}`)
	watching := ask("GET", "/v1/streams/document/note", "", "Prefer", "wait=25", "If-None-Match", `"`+first.ID.String()+`"`)
	posting := ask("POST", "/v1/commands", string(parked.AppendTo(nil)), "Prefer", "wait=25", "Content-Type", "application/json")
	require.Eventually(t, func() bool {
		views, err := call.Status(t.Context(), parked.ID)
		return err == nil && views[0].Status == commands.StatusParked
	}, patience, 5*time.Millisecond)

	began := time.Now()
	require.NoError(t, p.Stop())
	require.Less(t, time.Since(began), 10*time.Second, "nobody waits out their time")
	require.Equal(t, reply{status: 304}, <-watching)
	require.Equal(t, reply{status: 202}, <-posting)
}

func TestAStartThatFailsSaysWhyAndLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = taken.Close() })
	address := taken.Addr().String()

	tests := []struct {
		name string
		set  func(*Config)
		want string
	}{
		{"address", func(c *Config) { c.Listen = address },
			"listen: the address " + address + " is in use; stop the other program, or set listen to another one"},
		{"operators' address", func(c *Config) { c.AdminListen = address },
			"admin_listen: the address " + address + " is in use; stop the other program, or set admin_listen to another one"},
		{"no such interface", func(c *Config) { c.Listen = "192.0.2.1:80" }, "listen: cannot listen on 192.0.2.1:80: "},
		{"no database", func(c *Config) { c.PostgresURL, c.StoreWait = "postgres://u:geheim@127.0.0.1:1/x", 50*time.Millisecond },
			"the store (schema doorman of postgres://u:xxxxx@127.0.0.1:1/x) did not answer within 50ms: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := local(t)
			tt.set(c)
			p, err := New(c, builtIn())
			require.NoError(t, err)
			err = p.Start(t.Context())
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), "geheim")
			require.NoError(t, p.Stop())
			require.EqualError(t, p.Start(t.Context()), "the program was started before")
		})
	}
}

func TestAStartCanBeGivenUp(t *testing.T) {
	t.Parallel()
	c := local(t)
	c.PostgresURL = "postgres://127.0.0.1:1/x"
	p, err := New(c, builtIn())
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	cancel(interrupted)
	require.ErrorIs(t, p.Start(ctx), interrupted)
	require.NoError(t, p.Stop())
}

func TestAProgramNeedsAConfigurationAndTypes(t *testing.T) {
	t.Parallel()
	c := local(t)
	c.Lanes = 0
	_, err := New(c, builtIn())
	require.ErrorIs(t, err, ErrConfig)
	_, err = New(local(t), nil)
	require.EqualError(t, err, "no aggregate types were given")
	p, err := New(local(t), builtIn())
	require.NoError(t, err)
	require.NoError(t, p.Stop(), "stopping what was never started")
}

func TestTheLogGoesWhereAndHowItIsTold(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := local(t)
	c.Log = slog.New(slog.NewJSONHandler(&out, nil))
	p, err := New(c, builtIn())
	require.NoError(t, err)
	require.NoError(t, p.Start(t.Context()))
	require.NoError(t, p.Stop())
	for _, step := range []string{
		`"msg":"ready","url":"` + p.URL() + `"`, "stopping: answering the requests under way", "stopping: committing what was accepted",
		"stopping: stopping the worker", "stopping: closing the store", `"msg":"stopped"`,
	} {
		require.Contains(t, out.String(), step)
	}
	require.Less(t, strings.Index(out.String(), "stopping the worker"), strings.Index(out.String(), "closing the store"))
	require.True(t, NewLog(io.Discard, &Config{LogLevel: "debug", LogFormat: "json"}).Enabled(t.Context(), slog.LevelDebug))
	require.False(t, NewLog(io.Discard, &Config{LogLevel: "error", LogFormat: "text"}).Enabled(t.Context(), slog.LevelWarn))
}

func ExampleProgram() {
	config := Defaults()
	config.Listen, config.AdminListen = "127.0.0.1:0", "127.0.0.1:0"
	config.Log = slog.New(slog.DiscardHandler)
	folder, err := os.MkdirTemp("", "doorman")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(folder)
	config.DataDir = folder
	program, err := New(config, []aggregate.Type{document.Type()})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := program.Start(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("serving:", strings.HasPrefix(program.URL(), "http://127.0.0.1:"))
	fmt.Println("stopped:", program.Stop())
	// Output:
	// serving: true
	// stopped: <nil>
}
