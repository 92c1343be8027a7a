package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"time"
)

// Follow tells what happens on streams and to sessions' commands, from now on or from where the caller
// left off, until the context ends or the caller stops.
//
//	for push, err := range c.Follow(ctx, client.Watch{Streams: client.All(order)}) {
//	    if err != nil {
//	        return err
//	    }
//	    if push.Event == commands.PushState {
//	        show(push.State)
//	    }
//	}
//
// It is told in order, once, and without a hole: when a connection breaks, or nothing has been heard for
// [Silence], it is made anew and goes on from the last mark, and what is told again then is dropped. Where
// the server cannot go on from there, a Push of Event reset says so. An error is the last thing told: the
// context's, a *[RefusedError] of what the server will never take, or [ErrAttempts].
//
// Nothing is read ahead beyond some kilobytes, so a slow loop slows the connection down, until the server
// ends it; the next one goes on from there. Each range over it begins as the Watch says.
func (c *Client) Follow(ctx context.Context, watch Watch) iter.Seq2[Push, error] {
	return func(yield func(Push, error) bool) {
		f := newFollowing(c, watch)
		f.yield = yield
		if err := f.run(ctx); err != nil && !f.stopped {
			yield(Push{}, fmt.Errorf("follow: %w", err))
		}
	}
}

// Silence is for how long a connection may tell nothing before it counts as dead. The server gives a sign
// of life every 15 seconds.
const Silence = 40 * time.Second

var errSilent = fmt.Errorf("nothing was heard for %s", Silence)

// following is one range over Follow.
type following struct {
	client  *Client
	memory  *memory
	lost    func(error)
	marks   bool
	yield   func(Push, error) bool
	stopped bool // by the caller

	events eventStream
	room   []byte
	told   bool          // the connection has told something
	asked  time.Duration // by the server, to be left alone
}

func newFollowing(c *Client, watch Watch) *following {
	f := &following{client: c, memory: newMemory(watch), lost: watch.Lost, marks: watch.Marks,
		events: eventStream{most: int(min(c.config.MaxAnswer, 1<<30))}, room: make([]byte, 32<<10)}
	if f.lost == nil {
		f.lost = func(error) {}
	}
	return f
}

// run makes one connection after another.
func (f *following) run(ctx context.Context) error {
	for failed := 0; ; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		f.told, f.asked = false, 0
		err := f.connection(ctx)
		if ended := context.Cause(ctx); ended != nil {
			return ended
		}
		if f.stopped || err != nil && !later(err) {
			return err
		}
		if f.told {
			failed = 0
		}
		f.lost(err)
		failed++
		if ended := f.client.pause(ctx, failed, max(f.events.retry, f.asked)); ended != nil {
			return fmt.Errorf("%w; %w", ended, err)
		}
	}
}

// lastError marks what another attempt would not mend.
type lastError struct{ err error }

func (e *lastError) Error() string { return e.err.Error() }
func (e *lastError) Unwrap() error { return e.err }

// later tells whether another attempt may come to more. A server that fails is one that may be mended
// while somebody follows.
func later(err error) bool {
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		return passing(refused.Problem) || refused.Problem.Status >= http.StatusInternalServerError
	}
	_, last := errors.AsType[*lastError](err)
	return !last
}

// connection asks once and reads what is told until the connection breaks, which is the error.
func (f *following) connection(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(f.client.config.AttemptTimeout, func() { cancel(errSilent) })
	defer silence.Stop()
	request, err := f.request(ctx)
	if err != nil {
		return &lastError{err}
	}
	response, err := f.client.config.HTTP.Do(request)
	if err != nil {
		return why(ctx, err)
	}
	defer response.Body.Close() //nolint:errcheck // it was only read
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if response.StatusCode != http.StatusOK || kind != eventStreamType {
		return f.refused(ctx, response)
	}
	f.events.cut()
	for {
		silence.Reset(Silence)
		n, broken := response.Body.Read(f.room)
		silence.Stop() // the caller may take its time
		if err := f.take(f.room[:n]); err != nil || f.stopped {
			return err
		}
		if broken != nil {
			return why(ctx, broken)
		}
	}
}

// why prefers what ended a connection to what was noticed of it.
func why(ctx context.Context, noticed error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if errors.Is(noticed, io.EOF) {
		return errors.New("the connection was ended")
	}
	return noticed
}

// refused reads an answer that tells no events.
func (f *following) refused(ctx context.Context, response *http.Response) error {
	const most = 64 << 10
	text, err := io.ReadAll(io.LimitReader(response.Body, most))
	if err != nil {
		return why(ctx, err)
	}
	if response.StatusCode == http.StatusOK {
		return &lastError{fmt.Errorf("the answer is no stream of events, but %q: %s",
			response.Header.Get("Content-Type"), excerpt(text))}
	}
	p := problemOf(&reply{status: response.StatusCode, header: response.Header, body: text})
	f.asked = p.RetryAfter
	return &RefusedError{Problem: p}
}

const eventStreamType = "text/event-stream"

// longestQuery is how long a query may be that every proxy lets through.
const longestQuery = 2000

// request asks for what is wanted now. Session ids are secrets, which do not belong into URLs.
func (f *following) request(ctx context.Context) (*http.Request, error) {
	want := f.memory.want()
	query := url.Values{"stream": want.Streams, "deliver": {want.Deliver}}
	if want.After != "" {
		query.Set("after", want.After)
	}
	method, address, body := http.MethodGet, f.client.base+"/v1/notifications", []byte(nil)
	if encoded := query.Encode(); len(want.Sessions) == 0 && len(encoded) <= longestQuery {
		address += "?" + encoded
	} else {
		method = http.MethodPost
		var err error
		if body, err = json.Marshal(want); err != nil {
			return nil, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, address, bodyReader(body))
	if err != nil {
		return nil, err
	}
	maps.Copy(request.Header, f.client.config.Header)
	request.Header.Set("Accept", eventStreamType)
	request.Header.Set("Accept-Encoding", "identity") // what is compressed comes when a block is full
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return request, nil
}

// take tells the caller what has arrived.
func (f *following) take(chunk []byte) error {
	for {
		rest, whole, err := f.events.take(chunk)
		if err != nil {
			return &lastError{err}
		}
		if !whole {
			return nil
		}
		if err := f.message(); err != nil || f.stopped {
			return err
		}
		chunk = rest
	}
}

func (f *following) message() error {
	f.told = true
	var push Push
	fresh := false
	if f.events.some {
		var err error
		if push, fresh, err = readPush(string(f.events.event), f.events.data); err != nil {
			return &lastError{err}
		}
		fresh = fresh && f.memory.take(&push)
	}
	moved := f.events.marked && f.memory.moveTo(string(f.events.id))
	if !fresh {
		if !moved || !f.marks {
			return nil
		}
		push = Push{Event: PushMark}
	}
	push.Mark = f.memory.mark
	f.stopped = !f.yield(push, nil)
	return nil
}
