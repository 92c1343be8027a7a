package load

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/ticketed/doorman/commands"
)

// got takes what arrived for a reader.
func (w *watching) got(i int, data []byte, err error) {
	r := &w.readers[i]
	if !r.up {
		return // given up already
	}
	if err != nil {
		w.lost(i, 0)
		return
	}
	r.heard = w.e.now
	if len(r.partial) > 0 {
		r.partial = append(r.partial, data...)
		data = r.partial
	}
	if !r.headed {
		var ok bool
		if data, ok = w.head(i, data); !ok {
			return
		}
	}
	for {
		end := bytes.Index(data, []byte("\n\n"))
		if end < 0 {
			break
		}
		w.message(r, data[:end+1])
		data = data[end+2:]
	}
	if len(data) > maxResponse {
		w.e.fail("a message is longer than %d bytes", maxResponse)
	}
	r.partial = append(r.partial[:0], data...)
}

// head reads the beginning of the answer; ok is false when it is not all there, or is a refusal.
func (w *watching) head(i int, data []byte) (rest []byte, ok bool) {
	r := &w.readers[i]
	head, rest, whole := bytes.Cut(data, []byte("\r\n\r\n"))
	if !whole {
		r.partial = append(r.partial[:0], data...)
		return nil, false
	}
	if len(head) < 12 || string(head[:9]) != "HTTP/1.1 " {
		w.e.fail("%w: %.80q", errProtocol, head)
		return nil, false
	}
	status, _ := strconv.Atoi(string(head[9:12]))
	_, fields, _ := bytes.Cut(head, []byte("\r\n"))
	lower := bytes.ToLower(fields)
	switch {
	case status == 200 && bytes.Contains(lower, []byte("transfer-encoding:")):
		w.e.fail("the pushes come through a proxy that cuts them into chunks: bench is to be pointed at the server itself")
		return nil, false
	case status == 200:
		r.headed = true
		r.partial = r.partial[:0]
		return rest, true
	}
	w.refused[status]++
	if status < 500 && status != 429 {
		w.e.fail("watching was answered %d with %.300q", status, rest)
		return nil, false
	}
	after := time.Second
	if _, text, found := bytes.Cut(lower, []byte("retry-after: ")); found {
		text, _, _ = bytes.Cut(text, []byte("\r\n"))
		if seconds, err := strconv.Atoi(string(text)); err == nil {
			after = min(time.Duration(seconds)*time.Second, 10*time.Second)
		}
	}
	w.lost(i, after)
	return nil, false
}

// message takes one message: lines that end with a line feed, as the server writes them.
func (w *watching) message(r *reader, text []byte) {
	var event, data []byte
	for len(text) > 0 {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte("\n"))
		switch {
		case bytes.HasPrefix(line, []byte("event: ")):
			event = line[len("event: "):]
		case bytes.HasPrefix(line, []byte("data: ")):
			data = line[len("data: "):]
		case bytes.HasPrefix(line, []byte("id: ")):
			defer w.marked(r, line[len("id: "):])
		}
	}
	switch string(event) {
	case commands.PushState:
		w.state(r, data)
	case commands.PushLanded:
		w.landed(data)
	case commands.PushReset:
		w.complain("readers were told that something may have been missed (reset)", string(data))
	case commands.PushRefused:
		w.e.fail("a stream is not watched: %s", data)
	case commands.PushRejected:
		w.complain("own commands were told to be rejected", string(data[:min(len(data), 200)]))
	}
}

func (w *watching) marked(r *reader, mark []byte) {
	r.mark = append(r.mark[:0], mark...)
	if cut := bytes.LastIndexByte(mark, '-'); cut >= 0 {
		r.at, _ = strconv.ParseUint(string(mark[cut+1:]), 10, 64)
	}
	r.open = true
	if w.base == nil {
		w.base, w.baseAt = bytes.Clone(mark), r.at
	}
	if r.at > w.newest {
		w.newest, w.newestAt = r.at, w.e.now
	}
	if r.role == storm && !r.caughtUp && r.at >= w.storm.target {
		r.caughtUp = true
		w.stormCaughtUp()
	}
}

// state takes a stream's push: the versions that are new with it.
func (w *watching) state(r *reader, data []byte) {
	if r.role == idle {
		return
	}
	stream, version, ok := w.parseState(data)
	slot := stream - r.first
	if r.role != fan && slot < 0 {
		slot += w.e.cfg.Streams
	}
	if !ok || slot < 0 || slot >= len(r.versions) {
		w.complain("pushes were about something else than was asked for", string(data[:min(len(data), 200)]))
		return
	}
	if version == 0 {
		return
	}
	name := w.e.req.stream(stream)
	last := r.versions[slot]
	switch {
	case version <= last:
		if !r.again {
			w.complain("pushes told a version again, or an older one, on the same connection",
				fmt.Sprintf("%s version %d after %d", name, version, last))
		}
		return
	case version > uint64(len(w.times[stream])):
		w.complain("pushes told a version that nobody sent", fmt.Sprintf("%s version %d", name, version))
		return
	case version != last+1 && w.each(r):
		w.complain("pushes left versions out", fmt.Sprintf("%s version %d after %d", name, version, last))
	}
	r.versions[slot] = version
	w.pushes++
	w.lastNews = w.e.now
	for v := last + 1; v <= version; v++ {
		took := (w.e.now.Sub(w.e.began) - w.times[stream][v-1]).Microseconds()
		switch r.role {
		case spread:
			record(w.toTold, took, 1)
		case fan:
			if w.fanned[v]++; w.fanned[v] == w.e.cfg.Fan {
				record(w.toLast, took, 1)
				delete(w.fanned, v)
			}
		case own, idle, storm: // a backlog's age says nothing
		}
	}
}

// each tells whether a reader is told each landing by itself.
func (w *watching) each(r *reader) bool { return r.role == storm || w.e.cfg.WatchDeliver == "events" }

// parseState reads stream and version, which come first in what the server writes.
func (w *watching) parseState(data []byte) (stream int, version uint64, ok bool) {
	rest, found := bytes.CutPrefix(data, w.e.req.pushed)
	if !found {
		return w.parseSlowly(data)
	}
	n, rest := digits(rest)
	rest, found = bytes.CutPrefix(rest, []byte(`","version":`))
	if !found {
		return w.parseSlowly(data)
	}
	version, _ = digits(rest)
	return int(n), version, true //nolint:gosec // it is compared with the streams that there are
}

func digits(text []byte) (n uint64, rest []byte) {
	for len(text) > 0 && text[0] >= '0' && text[0] <= '9' && n < 1<<50 {
		n = n*10 + uint64(text[0]-'0')
		text = text[1:]
	}
	return n, text
}

func (w *watching) parseSlowly(data []byte) (int, uint64, bool) {
	var view struct {
		Stream  string `json:"stream"`
		Version uint64 `json:"version"`
	}
	if json.Unmarshal(data, &view) != nil {
		return 0, 0, false
	}
	prefix := w.e.req.kind + "/" + w.e.req.prefix
	if len(view.Stream) <= len(prefix) || view.Stream[:len(prefix)] != prefix {
		return 0, 0, false
	}
	n, err := strconv.Atoi(view.Stream[len(prefix):])
	return n, view.Version, err == nil && n >= 0
}

// landed takes an own command's outcome.
func (w *watching) landed(data []byte) {
	var view struct {
		ID commands.ID `json:"id"`
	}
	if err := json.Unmarshal(data, &view); err != nil {
		w.complain("pushes could not be read", string(data[:min(len(data), 200)]))
		return
	}
	since, open := w.waiting[view.ID]
	if !open {
		return // of a command that was sent twice, it is told twice
	}
	delete(w.waiting, view.ID)
	took := int64(1) // told before the answer to its predecessor was read
	if since >= 0 {
		took = (w.e.now.Sub(w.e.began) - since).Microseconds()
	}
	record(w.freedTold, took, 1)
}
