package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ticketed/doorman/commands"
)

// Status tells where commands stand, in the order asked, however many; of one of which nothing is known
// the view's Status is unknown.
func (c *Client) Status(ctx context.Context, ids ...commands.ID) ([]commands.CommandView, error) {
	views := make([]commands.CommandView, 0, len(ids))
	for part := range slices.Chunk(ids, commands.DefaultBodyLimits.Array) {
		query := make([]string, len(part))
		for i, id := range part {
			query[i] = "id=" + id.String()
		}
		var some []commands.CommandView
		if err := c.read(ctx, "/v1/commands?"+strings.Join(query, "&"), &some); err != nil {
			return nil, err
		}
		if len(some) != len(part) {
			return nil, fmt.Errorf("asked for %d commands and told of %d", len(part), len(some))
		}
		views = append(views, some...)
	}
	return views, nil
}

// pollFor is how long one request waits at the server when the client waits longer.
const pollFor = 25 * time.Second

// Await waits until a command has landed or been rejected, and tells it. It waits for commands of which
// nothing is known too: what is accepted may be known a moment later only. It ends with the context.
func (c *Client) Await(ctx context.Context, id commands.ID) (commands.CommandView, error) {
	for early := 0; ; {
		asked := time.Now()
		answer, err := c.get(ctx, ask{path: "/v1/commands/" + id.String(), wait: pollFor})
		var view commands.CommandView
		switch {
		case err == nil:
			if err := json.Unmarshal(answer.body, &view); err != nil {
				return view, fmt.Errorf("read the status of command %s: %w", id, err)
			}
		case refusedFor(err, commands.NotFound):
		default:
			return view, err
		}
		if view.Status == commands.StatusLanded || view.Status == commands.StatusRejected {
			return view, nil
		}
		// A server that does not wait, as when it has too many waiting, is not to be asked in a loop.
		if early++; time.Since(asked) >= pollFor/2 {
			early = 0
			continue
		}
		if err := c.sleep(ctx, early, 0); err != nil {
			return view, fmt.Errorf("await command %s: %w", id, err)
		}
	}
}

// Stream tells a stream as it is now. One on which nothing has happened is at version 0, without state,
// and tells the ticket to start with.
func (c *Client) Stream(ctx context.Context, stream commands.Stream) (commands.StreamView, error) {
	view, _, err := c.stream(ctx, stream, ask{})
	return view, err
}

// StreamAt tells a stream as of a version.
func (c *Client) StreamAt(ctx context.Context, stream commands.Stream, version uint64) (commands.StreamView, error) {
	view, _, err := c.stream(ctx, stream, ask{path: "?version=" + strconv.FormatUint(version, 10)})
	return view, err
}

// StreamAfter tells a stream once its ticket is another than the one given, waiting for that as long as
// asked, MaxWait at most; changed is false when it is the same still.
func (c *Client) StreamAfter(ctx context.Context, stream commands.Stream, ticket commands.ID, wait time.Duration) (
	view commands.StreamView, changed bool, err error,
) {
	known := http.Header{"If-None-Match": {`"` + ticket.String() + `"`}}
	view, changed, err = c.stream(ctx, stream, ask{wait: min(wait, MaxWait), header: known})
	return view, changed && view.Ticket != ticket, err
}

func (c *Client) stream(ctx context.Context, stream commands.Stream, a ask) (
	view commands.StreamView, changed bool, err error,
) {
	a.path = "/v1/streams/" + stream.String() + a.path
	answer, err := c.get(ctx, a)
	if refused, ok := errors.AsType[*RefusedError](err); ok && refused.Problem.Ticket != commands.None &&
		refused.Problem.Code == commands.NotFound {
		return commands.StreamView{Stream: stream, Ticket: refused.Problem.Ticket}, true, nil
	}
	if err != nil {
		return view, false, err
	}
	if answer.status == http.StatusNotModified {
		return view, false, nil
	}
	if err := json.Unmarshal(answer.body, &view); err != nil {
		return view, false, fmt.Errorf("read stream %s: %w", stream, err)
	}
	return view, true, nil
}

// Events reads one page of a stream's changelog: events with versions above after, oldest first, limit at
// most.
func (c *Client) Events(ctx context.Context, stream commands.Stream, after uint64, limit int) (
	[]commands.ChangeView, error,
) {
	var page []commands.ChangeView
	path := fmt.Sprintf("/v1/streams/%s/events?after=%d&limit=%d", stream, after, limit)
	err := c.read(ctx, path, &page)
	return page, err
}

// AllEvents reads a stream's changelog from a version on, page by page. It ends with the newest event, or
// with an error.
func (c *Client) AllEvents(
	ctx context.Context, stream commands.Stream, after uint64,
) iter.Seq2[commands.ChangeView, error] {
	const pageSize = 100
	return func(yield func(commands.ChangeView, error) bool) {
		for {
			page, err := c.Events(ctx, stream, after, pageSize)
			if err != nil {
				yield(commands.ChangeView{}, err)
				return
			}
			for _, change := range page {
				if !yield(change, nil) {
					return
				}
				after = change.Version
			}
			if len(page) < pageSize {
				return
			}
		}
	}
}

// Streams reads one page of the catalog of streams, of one type or, when that is empty, of all; the stream that
// changed last comes first. after is empty for the first page and what the page before said for the next.
//
// The catalog follows the log and may lag a little behind what has landed. A stream that changes between two
// pages moves to the front, so a walk tells of each stream once at most.
func (c *Client) Streams(ctx context.Context, streamType, after string, limit int) (commands.StreamsView, error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	if streamType != "" {
		query.Set("type", streamType)
	}
	if after != "" {
		query.Set("after", after)
	}
	var page commands.StreamsView
	err := c.read(ctx, "/v1/streams?"+query.Encode(), &page)
	return page, err
}

// AllStreams walks over the catalog, page by page. It tells of every stream that does not change meanwhile, and
// ends with the one that changed longest ago, or with an error.
func (c *Client) AllStreams(ctx context.Context, streamType string) iter.Seq2[commands.StreamView, error] {
	const pageSize = 1000
	return func(yield func(commands.StreamView, error) bool) {
		after := ""
		for {
			page, err := c.Streams(ctx, streamType, after, pageSize)
			if err != nil {
				yield(commands.StreamView{}, err)
				return
			}
			for _, stream := range page.Items {
				if !yield(stream, nil) {
					return
				}
			}
			if after = page.After; after == "" {
				return
			}
		}
	}
}

// Limits tells the server's bounds.
func (c *Client) Limits(ctx context.Context) (commands.LimitsView, error) {
	var limits commands.LimitsView
	err := c.read(ctx, "/v1/limits", &limits)
	return limits, err
}

// Ready asks once whether the process can do its work now; nil says yes.
func (c *Client) Ready(ctx context.Context) error {
	answer, err := c.exchange(ctx, ask{method: http.MethodGet, path: "/readyz"})
	if err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	if answer.status != http.StatusOK {
		return fmt.Errorf("not ready: %w", &RefusedError{Problem: problemOf(answer)})
	}
	return nil
}

// AwaitReady asks until the process is ready. It ends with the context.
func (c *Client) AwaitReady(ctx context.Context) error {
	for failed := 1; ; failed++ {
		err := c.Ready(ctx)
		if err == nil {
			return nil
		}
		if ended := c.sleep(ctx, failed, 0); ended != nil {
			return fmt.Errorf("%w; %w", ended, err)
		}
	}
}

// read gets what a path answers, decoded.
func (c *Client) read(ctx context.Context, path string, into any) error {
	answer, err := c.get(ctx, ask{path: path})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer.body, into); err != nil {
		return fmt.Errorf("read the answer to GET %s: %w", path, err)
	}
	return nil
}

// get asks until there is an answer that will not be another one a moment later; one that is neither a
// success nor "not modified" is a *RefusedError.
func (c *Client) get(ctx context.Context, a ask) (*reply, error) {
	a.method = http.MethodGet
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("get %s: %w", a.path, err)
	}
	var last error // of the newest attempt that the context did not end
	for failed := 1; ; failed++ {
		answer, err := c.exchange(ctx, a)
		var after time.Duration
		if err == nil {
			if answer.status == http.StatusOK || answer.status == http.StatusNotModified {
				return answer, nil
			}
			p := problemOf(answer)
			err = &RefusedError{Problem: p}
			if !passing(p) {
				return nil, err
			}
			after = p.RetryAfter
		}
		if last == nil || context.Cause(ctx) == nil {
			last = err
		}
		if ended := c.pause(ctx, failed, after); ended != nil {
			return nil, fmt.Errorf("get %s: %w; %w", a.path, ended, last)
		}
	}
}

func refusedFor(err error, code commands.Reason) bool {
	refused, ok := errors.AsType[*RefusedError](err)
	return ok && refused.Problem.Code == code
}
