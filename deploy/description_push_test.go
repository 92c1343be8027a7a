package deploy

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

// watching is what a client asks to be told.
type watching struct {
	Streams  []string `json:"streams"`
	Sessions []string `json:"sessions"`
	Deliver  string   `json:"deliver,omitempty"`
	After    string   `json:"after,omitempty"`
}

// request asks for it by an address or by a body.
func (w *watching) request(ctx context.Context, t *testing.T, method, base string) *http.Request {
	t.Helper()
	path, body := "/v1/notifications", ""
	if method == http.MethodPost {
		text, err := json.Marshal(w)
		require.NoError(t, err)
		body = string(text)
	} else {
		query := url.Values{"stream": w.Streams, "session": w.Sessions}
		for name, value := range map[string]string{"deliver": w.Deliver, "after": w.After} {
			if value != "" {
				query.Set(name, value)
			}
		}
		path += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, base+path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	return r
}

// until reads a stream of events until all of the names have come.
func until(t *testing.T, lines *bufio.Scanner, names ...string) {
	t.Helper()
	missing := map[string]bool{}
	for _, name := range names {
		missing[name] = true
	}
	for ended := false; len(missing) > 0 || !ended; {
		require.True(t, lines.Scan(), "the stream ends without %v: %v", missing, lines.Err())
		line := lines.Text()
		if ended = line == ""; !ended {
			delete(missing, strings.TrimPrefix(line, "event: "))
		}
	}
}

// beTold brings about every event that there is, over one connection, and the same by a long poll.
func beTold(t *testing.T, c *http.Client, base, method, deliver string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, b, s := commands.NewID().String(), commands.NewID().String(), "s-"+commands.NewID().String()
	stream := "tally/" + a
	post := func(id, ticket string, n int) {
		body := fmt.Sprintf(`{"id":%q,"stream":%q,"type":"add","ticket":%q,"session":%q,"data":{"n":%d}}`, id, stream, ticket, s, n)
		ask(t, c, http.MethodPost, base+"/v1/commands", body, "Content-Type: application/json")
	}
	w := &watching{Streams: []string{stream, "ghost/1", "tally/none@99"}, Sessions: []string{s}, Deliver: deliver}
	response, err := c.Do(w.request(ctx, t, method, base))
	require.NoError(t, err)
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	until(t, lines, commands.PushState, commands.PushRefused, commands.PushReset)
	post(b, a, 1)
	until(t, lines, commands.PushParked)
	post(a, "genesis", 1)
	until(t, lines, commands.PushLanded, commands.PushState)
	post(commands.NewID().String(), a, 1)
	until(t, lines, commands.PushRejected)

	r := w.request(ctx, t, method, base)
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Prefer", "wait=1")
	require.Equal(t, http.StatusOK, send(t, c, r).status)
}

// askToBeTold has notifications answer in every way that there is.
func askToBeTold(t *testing.T, c *http.Client, base string) {
	t.Helper()
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for _, deliver := range []string{"", "state", "ticket"} {
			beTold(t, c, base, method, deliver)
		}
		refused := func(status int, w *watching, header ...string) {
			r := w.request(t.Context(), t, method, base)
			for i := 0; i < len(header); i += 2 {
				r.Header.Set(header[i], header[i+1])
			}
			require.Equal(t, status, send(t, c, r).status)
		}
		refused(http.StatusBadRequest, &watching{})
		refused(http.StatusNotAcceptable, &watching{Sessions: []string{"s"}}, "Accept", "image/png")
		many := &watching{}
		for i := range 257 {
			many.Streams = append(many.Streams, fmt.Sprintf("tally/%d", i))
		}
		refused(http.StatusRequestEntityTooLarge, many)
		if method == http.MethodPost {
			refused(http.StatusUnsupportedMediaType, &watching{Sessions: []string{"s"}}, "Content-Type", "text/plain")
		}
	}
}
