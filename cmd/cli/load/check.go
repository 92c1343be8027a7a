package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ticketed/doorman/commands"
)

// checker looks up what became of every command that was accepted.
type checker struct {
	e        *engine
	base     string
	http     *http.Client
	deadline time.Time // until which a command may still be without an outcome

	landed   int
	rejected map[commands.Reason]int
	versions []uint64 // of each stream, as far as its chain has been followed
	broken   []bool   // streams whose chain cannot be followed any further
	places   positions
	streams  int // looked up
	wrong    findings
}

const (
	lookup   = 256    // ids a request (DESIGN section 3)
	parallel = 4      // requests at a time
	maxReads = 10_000 // streams whose head is compared; of more, as many spread evenly
)

func newChecker(e *engine, base *url.URL) *checker {
	return &checker{
		e: e, base: strings.TrimSuffix(base.String(), "/"), rejected: map[commands.Reason]int{},
		http:     &http.Client{Timeout: answerTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: parallel}},
		versions: make([]uint64, e.cfg.chains()), broken: make([]bool, e.cfg.chains()),
		deadline: time.Now().Add(e.cfg.Settle),
	}
}

// newest waits until the commands sent last have their outcomes, and tells since when that is known: now,
// or since the last answer where the first look finds nothing open.
func (c *checker) newest(ctx context.Context) (time.Time, error) {
	log := &c.e.plan.log
	if log.n == 0 {
		return c.e.lastKnown(), nil
	}
	from := max(0, log.n-lookup)
	ids := append([]commands.ID(nil), log.slice(from, lookup)...)
	if rest := log.n - from - len(ids); rest > 0 {
		ids = append(ids, log.slice(from+len(ids), rest)...)
	}
	return c.settle(ctx, ids)
}

// settle asks for commands until all have outcomes or the time is over.
func (c *checker) settle(ctx context.Context, open []commands.ID) (time.Time, error) {
	known := c.e.lastKnown()
	for first := true; ; first = false {
		var still []commands.ID
		for at := 0; at < len(open); at += lookup {
			part := open[at:min(at+lookup, len(open))]
			answers, err := c.fetch(ctx, part)
			if err != nil {
				return known, err
			}
			for i := range answers {
				if !terminal(answers[i].verdict().status) {
					still = append(still, part[i])
				}
			}
		}
		if !first {
			known = time.Now()
		}
		if len(still) == 0 || time.Now().After(c.deadline) {
			return known, nil
		}
		open = still
		if err := Pause(ctx, 5*time.Millisecond); err != nil {
			return known, err
		}
	}
}

func terminal(s commands.Status) bool {
	return s == commands.StatusLanded || s == commands.StatusRejected
}

// Pause waits for a while, or until the context ends, whose error it returns then.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// tails waits for the last command of every chain: when it has landed, so has all before it.
func (c *checker) tails(ctx context.Context) (time.Time, error) {
	var ids []commands.ID
	for i := range c.e.plan.chains {
		if chain := &c.e.plan.chains[i]; chain.started {
			ids = append(ids, chain.last)
		}
	}
	return c.settle(ctx, ids)
}

// all follows every chain from its first command to its last, in the order in which it was made.
func (c *checker) all(ctx context.Context) error {
	log := &c.e.plan.log
	for at := 0; at < log.n; {
		var parts [parallel][]commands.ID
		var answers [parallel][]told
		group, groupCtx := errgroup.WithContext(ctx)
		for i := range parts {
			if at == log.n {
				break
			}
			parts[i] = log.slice(at, lookup)
			at += len(parts[i])
			group.Go(func() (err error) {
				answers[i], err = c.fetch(groupCtx, parts[i])
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		for i := range parts {
			if err := c.part(ctx, parts[i], answers[i]); err != nil {
				return err
			}
		}
		if c.e.cfg.Progress != nil && at%(64*lookup) == 0 {
			progress := c.e.standing("checking")
			progress.Commands = at
			c.e.cfg.Progress(progress)
		}
	}
	return c.heads(ctx)
}

// part judges one batch of answers, asking again while some are open.
func (c *checker) part(ctx context.Context, ids []commands.ID, answers []told) error {
	for open(answers) && time.Now().Before(c.deadline) {
		if err := Pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
		var err error
		if answers, err = c.fetch(ctx, ids); err != nil {
			return err
		}
	}
	for i, id := range ids {
		if answers[i].ID != id {
			c.wrong.add("answers about another command than was asked for", id)
			continue
		}
		c.judge(id, answers[i].verdict())
	}
	return nil
}

func open(answers []told) bool {
	for i := range answers {
		if !terminal(answers[i].verdict().status) {
			return true
		}
	}
	return false
}

func (c *checker) judge(id commands.ID, v verdict) {
	stream := streamOf(id)
	switch {
	case !terminal(v.status):
		c.wrong.add("commands that were accepted and have no outcome", id)
		c.broken[stream] = true
		return
	case v.status == commands.StatusLanded:
		c.landed++
	default:
		c.rejected[v.reason]++
	}
	if before, ok := c.e.told[id]; ok && before != v.lasting() {
		c.wrong.add("commands whose outcome is another than a waiting client was told", id)
	}
	switch c.places.take(v.position) {
	case taken:
		c.wrong.add("outcomes at a position that another outcome has", id)
	case unreadable:
		c.wrong.add("outcomes without a position of this log", id)
	}
	switch {
	case kindOf(id) == stale && v.status == commands.StatusLanded:
		c.wrong.add("commands with a superseded ticket that landed", id)
	case kindOf(id) == stale && v.reason != commands.StaleTicket:
		c.wrong.add("commands with a superseded ticket rejected for another reason than stale_ticket", id)
	case kindOf(id) == stale:
	case v.status == commands.StatusRejected:
		c.wrong.add(fmt.Sprintf("commands with the right ticket rejected as %s", v.reason), id)
		c.broken[stream] = true
	default:
		if want := c.versions[stream] + 1; v.version != want && !c.broken[stream] {
			c.wrong.add("commands that landed at another version than the one after their predecessor's", id)
			c.broken[stream] = true
		}
		c.versions[stream] = v.version
	}
}

// heads compares streams with what landed on them: a second effect of the last command would show here.
func (c *checker) heads(ctx context.Context) error {
	step := max(1, len(c.versions)/maxReads)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	found := make([]told, len(c.versions))
	for stream := 0; stream < len(c.versions); stream += step {
		if c.broken[stream] || !c.e.plan.chains[stream].started {
			continue
		}
		c.streams++
		group.Go(func() error {
			return c.get(groupCtx, c.base+"/v1/streams/"+c.e.req.stream(stream), &found[stream])
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for stream := 0; stream < len(c.versions); stream += step {
		last := c.e.plan.chains[stream].last
		if c.broken[stream] || !c.e.plan.chains[stream].started {
			continue
		}
		if found[stream].Version != c.versions[stream] {
			c.wrong.add("streams with another version than their last command's", last)
		} else if found[stream].Ticket != last.String() {
			c.wrong.add("streams whose ticket is not their last command's id", last)
		}
	}
	return nil
}

// fetch asks for commands and gives an answer for each, in the order asked.
func (c *checker) fetch(ctx context.Context, ids []commands.ID) ([]told, error) {
	query := make([]byte, 0, len(c.base)+32+len(ids)*40)
	query = append(append(query, c.base...), "/v1/commands?id="...)
	for i, id := range ids {
		if i > 0 {
			query = append(query, "&id="...)
		}
		query = id.AppendTo(query)
	}
	answers := make([]told, 0, len(ids))
	if err := c.get(ctx, string(query), &answers); err != nil {
		return nil, err
	}
	if len(answers) != len(ids) {
		return nil, fmt.Errorf("asked for %d commands and was told of %d", len(ids), len(answers))
	}
	return answers, nil
}

// get reads JSON. A server that says "not now" is asked again until the deadline.
func (c *checker) get(ctx context.Context, address string, into any) error {
	var missing absence
	for {
		status, body, err := c.read(ctx, address)
		if err = missing.after(err, c.e.cfg.gone); errors.Is(err, errGone) {
			return err
		}
		if err == nil && status == http.StatusOK {
			if err := json.Unmarshal(body, into); err != nil {
				return fmt.Errorf("GET %.100s: %w", address, err)
			}
			return nil
		}
		if err == nil && status != http.StatusServiceUnavailable && status != http.StatusTooManyRequests ||
			time.Now().After(c.deadline) {
			if err == nil {
				err = fmt.Errorf("status %d: %.300s", status, body)
			}
			return fmt.Errorf("GET %.100s: %w", address, err)
		}
		if err := Pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

func (c *checker) read(ctx context.Context, address string) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxResponse))
	return answer.StatusCode, body, err
}
