package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Config is what a [Client] is made of. Only BaseURL must be given.
type Config struct {
	BaseURL string       // scheme, host and, behind a proxy, the path before /v1
	HTTP    *http.Client // a new one with a pool of 256 connections by default; its Timeout is best left 0
	Header  http.Header  // sent with every request, e.g. Authorization; names in canonical form
	Backoff Backoff

	// AttemptTimeout is how long one request may take, besides the time it is asked to wait for an
	// outcome; 15 s by default, which is longer than a gateway waits for its bus.
	AttemptTimeout time.Duration
	// MaxAnswer bounds the body of an answer, in bytes; 64 MiB by default.
	MaxAnswer int64
}

// Backoff says how pauses between attempts grow: the n-th is a random time of at most Base·2ⁿ⁻¹, and at
// most Max.
type Backoff struct {
	Base     time.Duration // 50 ms by default
	Max      time.Duration // 2 s by default
	Attempts int           // how many requests are made at most; 0: as many as the context leaves time for
}

func (c *Config) setDefaults() {
	if c.HTTP == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // documented to be one
		transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 256, 256
		c.HTTP = &http.Client{Transport: transport}
	}
	if c.Backoff.Base <= 0 {
		c.Backoff.Base = 50 * time.Millisecond
	}
	if c.Backoff.Max <= 0 {
		c.Backoff.Max = 2 * time.Second
	}
	if c.AttemptTimeout <= 0 {
		c.AttemptTimeout = 15 * time.Second
	}
	if c.MaxAnswer <= 0 {
		c.MaxAnswer = 64 << 20
	}
}

// Validate reports everything that is wrong with the configuration.
func (c *Config) Validate() error {
	var problems []error
	base, err := url.Parse(c.BaseURL)
	switch {
	case err != nil:
		problems = append(problems, fmt.Errorf("client: BaseURL: %w", err))
	case base.Scheme != "http" && base.Scheme != "https" || base.Host == "":
		problems = append(problems, fmt.Errorf("client: BaseURL %q is not http://host or https://host", c.BaseURL))
	case base.RawQuery != "" || base.Fragment != "":
		problems = append(problems, fmt.Errorf("client: BaseURL %q has a query or a fragment", c.BaseURL))
	}
	if c.Backoff.Attempts < 0 {
		problems = append(problems, errors.New("client: Backoff.Attempts is negative"))
	}
	return errors.Join(problems...)
}

// Client speaks to one Doorman.
type Client struct {
	config Config
	base   string // without a slash at its end
}

// New makes a client. It does not connect.
func New(config Config) (*Client, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config.setDefaults()
	return &Client{config: config, base: strings.TrimRight(config.BaseURL, "/")}, nil
}

// ask is a request.
type ask struct {
	method string
	path   string        // with the query
	wait   time.Duration // how long the server is to wait
	header http.Header
	body   []byte // nil: none
}

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// exchange makes one request.
func (c *Client) exchange(ctx context.Context, a ask) (*reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.AttemptTimeout+a.wait)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, a.method, c.base+a.path, bodyReader(a.body))
	if err != nil {
		return nil, err
	}
	maps.Copy(request.Header, c.config.Header)
	maps.Copy(request.Header, a.header)
	if a.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if a.wait > 0 {
		request.Header.Set("Prefer", "wait="+strconv.FormatInt(int64((a.wait+time.Second-1)/time.Second), 10))
	}
	response, err := c.config.HTTP.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(response.Body, c.config.MaxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer to %s %s: %w", a.method, a.path, err)
	}
	if int64(len(text)) > c.config.MaxAnswer {
		return nil, fmt.Errorf("the answer to %s %s is larger than %d bytes", a.method, a.path, c.config.MaxAnswer)
	}
	return &reply{status: response.StatusCode, header: response.Header, body: text}, nil
}

func bodyReader(body []byte) io.Reader {
	if body == nil {
		return http.NoBody
	}
	return bytes.NewReader(body)
}

// pause waits before the next attempt when so many have failed. It gives up at once when the context
// would end before the pause does.
func (c *Client) pause(ctx context.Context, failed int, atLeast time.Duration) error {
	if most := c.config.Backoff.Attempts; most > 0 && failed >= most {
		return ErrAttempts
	}
	return c.sleep(ctx, failed, atLeast)
}

// sleep is pause without the bound on attempts, for asking again and again what is bound to change.
func (c *Client) sleep(ctx context.Context, failed int, atLeast time.Duration) error {
	backoff := c.config.Backoff
	ceiling := backoff.Max
	if doublings := failed - 1; doublings < 30 {
		ceiling = min(backoff.Max, backoff.Base<<doublings)
	}
	pause := atLeast + rand.N(ceiling+1) //nolint:gosec // it spreads load, it keeps no secret
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= pause {
		return context.DeadlineExceeded
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
