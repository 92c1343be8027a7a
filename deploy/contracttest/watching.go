package contracttest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

// watcher is a reader of GET /v1/notifications.
type watcher struct {
	*visit
	header http.Header
	blocks *Blocks
	mark   string // the newest it was told
	raw    strings.Builder
	cut    func()
}

// toldWithin bounds how long a reader waits for what it is owed.
const toldWithin = 20 * time.Second

// watch begins to read; lines are headers.
func (v *visit) watch(query string, lines ...string) *watcher {
	v.Helper()
	return v.watchBy(&row{method: http.MethodGet, path: "/v1/notifications?" + query, header: append([]string{"Accept: text/event-stream"}, lines...)})
}

func (v *visit) watchBy(r *row) *watcher {
	v.Helper()
	request := v.request(r)
	ctx, cancel := context.WithTimeout(v.Context(), toldWithin)
	response, err := v.doorman.Client.Do(request.WithContext(ctx)) //nolint:bodyclose // cut does
	require.NoError(v, err)
	w := &watcher{visit: v, header: response.Header, cut: func() {
		cancel()
		_ = response.Body.Close()
	}}
	v.Cleanup(w.cut)
	w.blocks = NewBlocks(io.TeeReader(response.Body, &w.raw), 4<<10)
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		require.Equal(v, http.StatusOK, response.StatusCode, "%s", text)
	}
	require.Equal(v, "text/event-stream", response.Header.Get("Content-Type"))
	return w
}

// block reads one, and remembers its mark.
func (w *watcher) block() *Block {
	w.Helper()
	b, err := w.blocks.Next()
	require.NoError(w, err, "what was told before: %s", &w.raw)
	if b.ID != "" {
		w.follows(w.mark, b.ID)
		w.mark = b.ID
	}
	return b
}

// follows checks that marks do not go back.
func (w *watcher) follows(before, after string) {
	w.Helper()
	if before == "" {
		return
	}
	one, err := commands.ParsePosition(before)
	require.NoError(w, err)
	next, err := commands.ParsePosition(after)
	require.NoError(w, err)
	require.Equal(w, one.Epoch, next.Epoch)
	require.GreaterOrEqual(w, next.N, one.N, "a mark goes back")
}

// message is the next one.
func (w *watcher) message() *Block {
	w.Helper()
	for {
		if b := w.block(); b.Event != "" {
			return b
		}
	}
}

// tells expects the next message.
func (w *watcher) tells(event, data string) *Block {
	w.Helper()
	b := w.message()
	require.Equal(w, event, b.Event, "%s; what was told: %s", b.Data, &w.raw)
	w.match(data, b.Data)
	return b
}

// opened reads up to the mark that the opening ends with.
func (w *watcher) opened() (messages []*Block) {
	w.Helper()
	for w.mark == "" {
		if b := w.block(); b.Event != "" {
			messages = append(messages, b)
		}
	}
	return messages
}

// opens expects exactly these messages in the opening: an event and its data, in turn.
func (w *watcher) opens(want ...string) *watcher {
	w.Helper()
	got := w.opened()
	require.Len(w, got, len(want)/2, "what was told: %s", &w.raw)
	for i, b := range got {
		require.Equal(w, want[2*i], b.Event, "what was told: %s", &w.raw)
		w.match(want[2*i+1], b.Data)
	}
	return w
}

// marked reads blocks until one has a mark.
func (w *watcher) marked() {
	w.Helper()
	for w.block().ID == "" {
		continue
	}
}

// positionOf is a member of a message.
func (w *watcher) positionOf(b *Block) commands.Position {
	w.Helper()
	var told struct{ Position commands.Position }
	require.NoError(w, json.Unmarshal(b.Data, &told))
	return told.Position
}
