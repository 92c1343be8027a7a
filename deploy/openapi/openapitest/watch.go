package openapitest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// Watch is a transport that holds all that passes against the document, each exchange once its answer was read
// to its end or closed. What is found is told by Complaints.
func (c *Checker) Watch(base http.RoundTripper) http.RoundTripper { return &watcher{c, base} }

type watcher struct {
	checker *Checker
	base    http.RoundTripper
}

// RoundTrip is http.RoundTripper's.
func (w *watcher) RoundTrip(request *http.Request) (*http.Response, error) {
	e := &Exchange{Method: request.Method, URL: request.URL, Asked: request.Header.Clone()}
	if request.GetBody != nil {
		body, err := request.GetBody()
		if err != nil {
			return nil, fmt.Errorf("read the request's body: %w", err)
		}
		if e.Sent, err = io.ReadAll(body); err != nil {
			return nil, fmt.Errorf("read the request's body: %w", err)
		}
	}
	response, err := w.base.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	e.Status, e.Header = response.StatusCode, response.Header.Clone()
	response.Body = &watchedBody{ReadCloser: response.Body, checker: w.checker, exchange: e}
	return response, nil
}

// CloseIdleConnections is for http.Client's.
func (w *watcher) CloseIdleConnections() {
	if base, ok := w.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// watchedBody keeps what is read of an answer.
type watchedBody struct {
	io.ReadCloser
	checker  *Checker
	exchange *Exchange

	mu   sync.Mutex // a body may be closed while it is read
	read bytes.Buffer
	done bool
}

// Read is io.Reader's.
func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.mu.Lock()
	b.read.Write(p[:n])
	b.mu.Unlock()
	if err == io.EOF { //nolint:errorlint // readers return it as it is
		b.finish(false)
	}
	return n, err
}

// Close is io.Closer's.
func (b *watchedBody) Close() error {
	err := b.ReadCloser.Close()
	b.finish(true)
	return err
}

func (b *watchedBody) finish(part bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done {
		return
	}
	b.done = true
	b.exchange.Answer, b.exchange.Part = b.read.Bytes(), part
	if err := b.checker.Check(b.exchange); err != nil {
		e := b.exchange
		b.checker.Complain("%s %s %s -> %d %s:\n%v", e.Method, e.URL, short(e.Sent), e.Status, short(e.Answer), err)
	}
}
