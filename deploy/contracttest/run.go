package contracttest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

// Doorman is a running program as the table sees it.
type Doorman struct {
	URL string // of its API, e.g. http://127.0.0.1:8080
	// RejectParked is an operator's word on a parked command; nil where operators have none yet, whose
	// story is then left out.
	RejectParked func(ctx context.Context, id commands.ID) error
	// Limits are what it is to tell.
	Limits commands.LimitsView
	// Beat is the time between signs of life on a connection that watches; 0 where waiting for one would take
	// too long, and the story is left out.
	Beat time.Duration
	// Client makes the requests, so that what passes can be looked at;
	// http.DefaultClient when nil.
	Client *http.Client
}

// Run holds a program against the whole table.
func Run(t *testing.T, d Doorman) {
	t.Helper()
	if d.Client == nil {
		d.Client = http.DefaultClient
	}
	t.Cleanup(d.Client.CloseIdleConnections)
	for _, part := range []struct {
		name string
		rows []row
	}{
		{"accepting", accepting}, {"rejecting", rejecting}, {"refusing", refusing()}, {"conditions", conditions},
		{"arrays", arrays()}, {"commands", readingCommands()}, {"streams", readingStreams}, {"changes", readingChanges},
		{"catalog", readingCatalog},
		{"addresses", addresses}, {"notifications", notifications()},
	} {
		t.Run(part.name, func(t *testing.T) {
			t.Parallel()
			for _, r := range part.rows {
				t.Run(strings.ReplaceAll(r.name, "/", "∕"), func(t *testing.T) {
					t.Parallel()
					r.run(d.visit(t))
				})
			}
		})
	}
	d.tell(t, stories)
	d.tell(t, watchedStories)
}

func (d Doorman) tell(t *testing.T, stories map[string]func(*visit)) {
	t.Helper()
	for name, story := range stories {
		if name == operatorStory && d.RejectParked == nil || name == heartbeatStory && d.Beat == 0 {
			t.Logf("left out: %s", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(d.visit(t))
		})
	}
}

// row is one request and its exact answer. In all its texts $s is a stream of the row's own, of type
// tally, $i that stream's id alone, and $a to $h are ids of its own. See match for what answer may hold.
type row struct {
	name   string
	given  []string // what is posted before: the status it gets, then the body; with 202 it is not waited for
	method string   // POST when empty
	path   string   // /v1/commands when empty
	header []string // "Name: value"; what is posted has Content-Type: application/json unless it says otherwise
	body   string

	status int
	tells  []string // headers of the answer among those in told, "Name: value"; Content-Type goes without saying, as does Cache-Control: no-store
	answer string   // JSON; none when empty
}

// told are the headers an answer is held to: what a row does not list must not be there.
var told = []string{"Location", "ETag", "Cache-Control", "Preference-Applied", "Retry-After", "Allow"}

// visit is one row's client, with names of its own.
type visit struct {
	*testing.T
	doorman Doorman
	names   map[string]string
}

func (d Doorman) visit(t *testing.T) *visit {
	t.Helper()
	v := &visit{T: t, doorman: d, names: map[string]string{}}
	id := commands.NewID().String()
	v.names["$i"], v.names["$s"] = id, "tally/"+id
	for c := 'a'; c <= 'h'; c++ {
		v.names["$"+string(c)] = commands.NewID().String()
	}
	return v
}

var named = regexp.MustCompile(`\$[a-z]\b`)

// fill puts the row's names into a text.
func (v *visit) fill(text string) string {
	return named.ReplaceAllStringFunc(text, func(name string) string {
		value, known := v.names[name]
		require.True(v, known, "no name %s", name)
		return value
	})
}

func (r *row) run(v *visit) {
	for _, step := range r.given {
		v.give(step)
	}
	r.check(v, v.send(v.request(r)))
}

func (r *row) check(v *visit, got answer) {
	v.Helper()
	require.NoError(v, got.err)
	require.Equal(v, r.status, got.status, "status; the answer was %s", got.body)
	r.checkHeader(v, got.header, got.status)
	if r.answer == "" {
		require.Empty(v, string(got.body))
		return
	}
	v.match(r.answer, got.body)
}

// give posts a command that a row presupposes.
func (v *visit) give(step string) {
	v.Helper()
	var status int
	_, err := fmt.Sscan(step, &status)
	require.NoError(v, err)
	r := &row{body: strings.TrimSpace(step[3:]), header: []string{"Prefer: wait=10"}}
	if status == http.StatusAccepted {
		r.header = nil
	}
	got, _, body := v.ask(r)
	require.Equal(v, status, got, "given %s: %s", step, body)
	if status == http.StatusAccepted {
		v.awaitKnown(body)
	}
}

// awaitKnown waits until what was accepted is known to be parked or more: over a bus that is a moment later.
func (v *visit) awaitKnown(accepted []byte) {
	v.Helper()
	if accepted[0] == '{' {
		accepted = []byte("[" + string(accepted) + "]")
	}
	var told []commands.CommandView
	require.NoError(v, json.Unmarshal(accepted, &told))
	query := url.Values{}
	for _, command := range told {
		query.Add("id", command.ID.String())
	}
	require.Eventually(v, func() bool {
		_, _, body := v.ask(&row{method: http.MethodGet, path: "/v1/commands?" + query.Encode()})
		return !bytes.Contains(body, []byte(`"status":"unknown"`))
	}, time.Minute, time.Millisecond)
}

func (v *visit) ask(r *row) (status int, header http.Header, body []byte) {
	v.Helper()
	got := v.send(v.request(r))
	require.NoError(v, got.err)
	return got.status, got.header, got.body
}

func (v *visit) request(r *row) *http.Request {
	v.Helper()
	method, path := r.method, r.path
	if method == "" {
		method = http.MethodPost
	}
	if path == "" {
		path = "/v1/commands"
	}
	content := v.fill(r.body)
	request, err := http.NewRequestWithContext(v.Context(), method, v.doorman.URL+v.fill(path), strings.NewReader(content))
	require.NoError(v, err)
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/json")
	}
	for _, line := range r.header {
		name, value, _ := strings.Cut(line, ": ")
		switch value = v.fill(value); {
		case name == "Transfer-Encoding":
			request.ContentLength = -1
		case value == "none":
			request.Header.Del(name)
		case name == "Content-Type":
			request.Header.Set(name, value)
		default:
			request.Header.Add(name, value)
		}
	}
	return request
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error
}

func (v *visit) send(request *http.Request) (a answer) {
	response, err := v.doorman.Client.Do(request) //nolint:gosec // the address is that of the program under test
	if err != nil {
		a.err = err
		return a
	}
	defer response.Body.Close()
	a.status, a.header = response.StatusCode, response.Header
	a.body, a.err = io.ReadAll(response.Body)
	return a
}

func (r *row) checkHeader(v *visit, header http.Header, status int) {
	want := map[string]string{"Cache-Control": "no-store"}
	for _, line := range r.tells {
		name, value, _ := strings.Cut(line, ": ")
		want[name] = v.fill(value)
	}
	for _, name := range told {
		got := strings.Join(header.Values(name), " and ")
		if name == "Retry-After" && want[name] != "" {
			require.Regexp(v, "^[123]$", got, name)
			continue
		}
		require.Equal(v, want[name], got, name)
	}
	switch {
	case status == http.StatusNotModified:
		require.Empty(v, header.Values("Content-Type"))
	case status >= 400 && r.answer != "" && r.answer[0] != '[':
		require.Equal(v, []string{problem.ContentType}, header.Values("Content-Type"))
	case r.method != http.MethodHead || status < 400:
		require.Equal(v, []string{"application/json"}, header.Values("Content-Type"))
	}
}

// match compares an answer with what is expected, as JSON. In the latter a text in angle brackets stands
// for any of its kind: <id>, <position>, <mark>, <time>, <text>, <seconds>, <any>.
func (v *visit) match(want string, got []byte) {
	v.Helper()
	want = v.fill(want)
	var expected, found any
	require.NoError(v, json.Unmarshal([]byte(want), &expected), want)
	require.NoError(v, json.Unmarshal(got, &found), string(got))
	require.NoError(v, commands.CheckJSON(got, 100), "the answer is I-JSON itself")
	if problem := differ("", expected, found); problem != "" {
		require.Fail(v, "another answer", "%s\nwant %s\ngot  %s", problem, want, got)
	}
}

var kinds = map[string]*regexp.Regexp{
	"<id>":       regexp.MustCompile(`^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$`),
	"<position>": regexp.MustCompile(`^[A-Za-z0-9]+-[1-9][0-9]*$`),
	"<mark>":     regexp.MustCompile(`^[A-Za-z0-9]+-(0|[1-9][0-9]*)$`),
	"<time>":     regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`),
	"<text>":     regexp.MustCompile(`^.+$`),
}

// differ says where two values differ, if they do.
func differ(at string, want, got any) string {
	switch want := want.(type) {
	case map[string]any:
		other, ok := got.(map[string]any)
		if !ok {
			return at + " is no object"
		}
		return differObjects(at, want, other)
	case []any:
		other, ok := got.([]any)
		if !ok || len(other) != len(want) {
			return fmt.Sprintf("%s is no array of %d", at, len(want))
		}
		for i := range want {
			if problem := differ(fmt.Sprintf("%s/%d", at, i), want[i], other[i]); problem != "" {
				return problem
			}
		}
		return ""
	case string:
		if want == "<any>" {
			return ""
		}
		if want == "<seconds>" {
			if n, ok := got.(float64); ok && slices.Contains([]float64{1, 2, 3}, n) {
				return ""
			}
			return at + " is not 1 to 3"
		}
		if kind := kinds[want]; kind != nil {
			if text, ok := got.(string); ok && kind.MatchString(text) {
				return ""
			}
			return at + " is no " + want
		}
	}
	if want != got {
		return fmt.Sprintf("%s is %v, not %v", at, got, want)
	}
	return ""
}

func differObjects(at string, want, got map[string]any) string {
	for name := range got {
		if _, expected := want[name]; !expected {
			return at + "/" + name + " is not expected"
		}
	}
	for name := range want {
		value, there := got[name]
		if !there {
			return at + "/" + name + " is missing"
		}
		if problem := differ(at+"/"+name, want[name], value); problem != "" {
			return problem
		}
	}
	return ""
}

// refusal is the problem of a refused request or command; more are members beyond those that all have.
func refusal(code commands.Reason, more ...string) string {
	members := fmt.Sprintf(`{"type":"/problems/%s","title":%q,"status":%d,"detail":"<text>","code":%q`,
		code, code.Title(), code.Status(), code)
	return strings.Join(append([]string{members}, more...), ",") + "}"
}

// rejected is the problem of a command rejected: id is its name, e.g. $a. What follows ticket and version
// are its root and that one's reason, and more members.
func rejected(id string, code commands.Reason, version int, ticket, root string, why commands.Reason, more ...string) string {
	return refusal(code, append([]string{
		fmt.Sprintf(`"instance":"/v1/commands/%s","id":%q,"stream":"$s","position":"<position>","version":%d,"ticket":%q`, id, id, version, ticket),
		fmt.Sprintf(`"reason":%q,"root":%q,"root_reason":%q`, code, root, why),
	}, more...)...)
}

// landed is the view of a command that landed.
func landed(id, kind string, version int) string {
	return fmt.Sprintf(`{"id":%q,"stream":"$s","type":%q,"status":"landed","position":"<position>","version":%d,"ticket":%q}`, id, kind, version, id)
}

// accepted is what is told of a command of which no more is known.
func accepted(id string) string {
	return fmt.Sprintf(`{"id":%q,"stream":"$s","status":"accepted"}`, id)
}

// add is a command that adds to the row's stream.
func add(id, ticket string, n int) string {
	return fmt.Sprintf(`{"id":%q,"stream":"$s","type":"add","ticket":%q,"actor":"Ann","data":{"n":%d}}`, id, ticket, n)
}

// plain is a command without data.
func plain(id, kind, ticket string) string {
	return fmt.Sprintf(`{"id":%q,"stream":"$s","type":%q,"ticket":%q}`, id, kind, ticket)
}

// change is the changelog's entry of such an add.
func change(version int, id string, n int) string {
	return fmt.Sprintf(`{"version":%d,"position":"<position>","type":"added","data":{"n":%d},"command":{"id":%q,"type":"add","actor":"Ann"},"at":"<time>"}`,
		version, n, id)
}
