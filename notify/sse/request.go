package sse

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/commands/problem"
	"github.com/ticketed/doorman/notify/hub"
)

// asked is a request as it was sent.
type asked struct {
	Streams  []*string `json:"streams"`
	Sessions []*string `json:"sessions"`
	Deliver  string    `json:"deliver"`
	After    string    `json:"after"`
}

// parse reads what a request asks for. The error is a *problem.Problem or a *commands.MalformedError.
func parse(r *http.Request) (*hub.Request, error) {
	var (
		a   asked
		err error
	)
	if r.Method == http.MethodPost {
		a, err = parseBody(r)
	} else {
		a, err = parseQuery(r)
	}
	if err != nil {
		return nil, err
	}
	request, err := a.request()
	if err != nil {
		return nil, err
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		// One that cannot be read is of another server's making: a browser would go on sending it for ever, so
		// it is told to begin anew.
		position, err := commands.ParsePosition(last)
		if err != nil {
			position = commands.Position{}
		}
		request.After, request.Reopened = &position, true
	}
	return request, nil
}

func parseQuery(r *http.Request) (a asked, err error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return a, malformed("the query cannot be read: %s", err)
	}
	for name, given := range values {
		switch name {
		case "stream":
			a.Streams = pointers(given)
		case "session":
			a.Sessions = pointers(given)
		case "deliver", "after":
			if len(given) > 1 {
				return a, malformed("the query parameter %s is given %d times", name, len(given))
			}
		default:
			return a, malformed("there is no query parameter %s here: stream, session, deliver and after are taken", quote(name))
		}
	}
	a.Deliver, a.After = values.Get("deliver"), values.Get("after")
	return a, nil
}

var members = []string{"streams", "sessions", "deliver", "after"}

func parseBody(r *http.Request) (a asked, err error) {
	if r.URL.RawQuery != "" {
		return a, malformed("with POST all that is asked for is in the body, not in the query")
	}
	if !headers.SendsJSON(r.Header["Content-Type"]) {
		return a, problem.New(commands.UnsupportedMediaType, "the body is sent with Content-Type: application/json, in UTF-8")
	}
	limits := commands.DefaultBodyLimits
	body, err := io.ReadAll(io.LimitReader(r.Body, int64(limits.Bytes)+1))
	if err != nil {
		return a, malformed("the body did not arrive: %s", err)
	}
	if len(body) > limits.Bytes {
		return a, problem.Newf(commands.TooLarge, "the body is larger than %d bytes", limits.Bytes)
	}
	if err := commands.CheckJSON(body, limits.Depth); err != nil {
		return a, err
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(body, &given); err != nil || given == nil {
		return a, malformed("the body must be an object with streams, sessions, or both")
	}
	for name := range given {
		if !slices.Contains(members, name) {
			return a, malformed("there is no member %s here: %s are taken", quote(name), strings.Join(members, ", "))
		}
	}
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&a); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return a, malformed("%s cannot be %s: streams and sessions are arrays of texts, deliver and after are texts",
				wrong.Field, wrong.Value)
		}
		return a, malformed("the body cannot be read: %s", err)
	}
	return a, nil
}

func (a *asked) request() (*hub.Request, error) {
	r := &hub.Request{}
	var ok bool
	if r.Deliver, ok = hub.ParseDeliver(a.Deliver); !ok {
		return nil, malformed("deliver %s is none of state, events, ticket", quote(a.Deliver))
	}
	if len(a.Streams) > hub.MaxWatched || len(a.Sessions) > hub.MaxSessions { // before each is looked at
		return nil, (&hub.Request{Streams: make([]hub.Watch, len(a.Streams)), Sessions: make([]string, len(a.Sessions))}).Validate()
	}
	for i, text := range a.Streams {
		if text == nil {
			return nil, malformed("the stream at index %d is null", i)
		}
		w, err := parseWatch(*text)
		if err != nil {
			return nil, malformed("the stream at index %d: %s", i, err.Detail)
		}
		r.Streams = append(r.Streams, w)
	}
	for i, session := range a.Sessions {
		if session == nil {
			return nil, malformed("the session at index %d is null", i)
		}
		if wrong := wrongWith(*session); wrong != "" {
			return nil, malformed("the session at index %d %s", i, wrong)
		}
		if slices.Contains(r.Sessions, *session) {
			return nil, malformed("the session at index %d is asked for twice", i)
		}
		r.Sessions = append(r.Sessions, *session)
	}
	if a.After != "" {
		position, err := commands.ParsePosition(a.After)
		if err != nil {
			return nil, malformed("after: %s", err)
		}
		r.After = &position
	}
	return r, nil
}

// parseWatch reads "type/id", "type/id@17" or "type/id@new".
func parseWatch(text string) (hub.Watch, *problem.Problem) {
	name, since, given := strings.Cut(text, "@")
	stream, err := commands.ParseStream(name)
	if err != nil {
		return hub.Watch{}, malformed("%s", err)
	}
	w := hub.Watch{Stream: stream}
	switch {
	case !given:
	case since == "new":
		w.Since = hub.SinceSnapshot
	default:
		w.Since = hub.SinceVersion
		if w.Version, err = strconv.ParseUint(since, 10, 63); err != nil || since[0] == '+' {
			return w, malformed("stream %s: after the @ comes the version you have, or new", quote(text))
		}
	}
	return w, nil
}

// wrongWith says what is wrong with a session; a session is what a command may carry as one.
func wrongWith(session string) string {
	switch {
	case session == "":
		return "is empty"
	case !utf8.ValidString(session) || strings.ContainsFunc(session, unicode.IsControl):
		return "holds control characters, or is no UTF-8"
	case utf8.RuneCountInString(session) > commands.MaxSession:
		return fmt.Sprintf("is longer than %d characters", commands.MaxSession)
	}
	return ""
}

func pointers(texts []string) []*string {
	all := make([]*string, len(texts))
	for i := range texts {
		all[i] = &texts[i]
	}
	return all
}

func malformed(format string, args ...any) *problem.Problem {
	return problem.Newf(commands.Malformed, format, args...)
}

func quote(text string) string {
	if len(text) > 100 {
		text = text[:100] + "…"
	}
	return fmt.Sprintf("%q", text)
}
