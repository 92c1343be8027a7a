package client

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/problem"
)

// problemOf reads what an answer that is no success says. One that is not Doorman's own, as from a proxy
// between, has no code.
func problemOf(answer *reply) *problem.Problem {
	p := new(problem.Problem)
	kind, _, _ := mime.ParseMediaType(answer.header.Get("Content-Type"))
	if kind != problem.ContentType || json.Unmarshal(answer.body, p) != nil {
		*p = problem.Problem{Type: "about:blank", Title: http.StatusText(answer.status), Detail: excerpt(answer.body)}
	}
	p.Status = answer.status
	if after := retryAfter(answer.header.Get("Retry-After")); after > 0 {
		p.RetryAfter = after
	}
	return p
}

func excerpt(body []byte) string {
	const most = 200
	text := bytes.ToValidUTF8(bytes.TrimSpace(body), []byte("\ufffd"))
	if len(text) > most {
		text = append(bytes.ToValidUTF8(text[:most:most], nil), "…"...)
	}
	return string(text)
}

// retryAfter reads the header's two forms (RFC 9110 section 10.2.3); 0 when it says nothing of use.
func retryAfter(value string) time.Duration {
	const most = time.Hour
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, most)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(0, time.Until(at)), most)
	}
	return 0
}

// passing tells of an answer that it may be another one a moment later.
func passing(p *problem.Problem) bool {
	switch p.Status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// nothingAccepted tells of a passing answer that nothing was accepted: malformed is here what was sent too
// slowly to be read. A 503 or 408 without our code comes from somebody between, who may have lost our answer.
func nothingAccepted(p *problem.Problem) bool {
	return p.Status == http.StatusTooManyRequests || p.Code == commands.Unavailable || p.Code == commands.Malformed
}

// certain tells of a refusal that any earlier attempt to send the same bytes was refused as well, or at
// least had no effect of its own.
func certain(code commands.Reason) bool {
	return slices.Contains([]commands.Reason{
		commands.Malformed, commands.TooLarge, commands.UnsupportedMediaType,
		commands.TicketRequired, commands.IDConflict,
	}, code)
}
