package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/commands/problem"
)

// maxBody is the largest body, in bytes: all its members at their longest, each character as an escape, and more.
const maxBody = 32 << 10

// decision is what an operator sends.
type decision struct{ by, why, ticket string }

// decode reads the body of a decision. It has the members by and why, those named besides, and no others; all are
// strings. The error is a *problem.Problem or a *commands.MalformedError.
func decode(r *http.Request, more ...string) (decision, error) {
	var d decision
	body, err := read(r)
	if err != nil {
		return d, err
	}
	if err := commands.CheckJSON(body, 8); err != nil {
		return d, err
	}
	names := append([]string{"by", "why"}, more...)
	given, err := members(body, names)
	if err != nil {
		return d, err
	}
	d.by, d.why, d.ticket = given["by"], given["why"], given["ticket"]
	for _, name := range []string{"by", "why"} {
		if strings.TrimSpace(given[name]) == "" {
			return d, malformed("", 0, "the body must say %q: who decides it and why is kept, and told", name)
		}
	}
	return d, nil
}

func read(r *http.Request) ([]byte, error) {
	if r.URL.RawQuery != "" {
		return nil, problem.New(commands.Malformed, "all that is asked for is in the body, not in the query")
	}
	if !headers.SendsJSON(r.Header["Content-Type"]) {
		return nil, problem.New(commands.UnsupportedMediaType, "the body is sent with Content-Type: application/json, in UTF-8")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, problem.New(commands.Malformed, "the body could not be read to its end")
	case len(body) > maxBody:
		return nil, problem.Newf(commands.TooLarge, "the body is larger than %d bytes", maxBody)
	}
	return body, nil
}

// longest are the bounds of the members, in characters.
var longest = map[string]int{"by": commands.MaxActor, "why": commands.MaxWhy, "ticket": 36}

// members reads an object of strings that have these names. The text is I-JSON, so no name is there twice.
func members(body []byte, names []string) (map[string]string, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		return nil, malformed("", 0, "the body must be an object with %s", strings.Join(names, ", "))
	}
	given := map[string]string{}
	for d.More() {
		at := after(body, d.InputOffset())
		token, err := d.Token()
		if err != nil {
			return nil, problem.New(commands.Malformed, "the body cannot be read")
		}
		name, _ := token.(string)
		if !slices.Contains(names, name) {
			return nil, malformed(pointerTo(name), at, "there is no member of this name here; %s are taken", strings.Join(names, ", "))
		}
		at = after(body, d.InputOffset())
		var value any
		if err := d.Decode(&value); err != nil {
			return nil, problem.New(commands.Malformed, "the body cannot be read")
		}
		text, ok := value.(string)
		if !ok {
			return nil, malformed("/"+name, at, "%q must be a string", name)
		}
		if wrong := commands.WrongLabel(name, text, longest[name]); wrong != "" {
			return nil, malformed("/"+name, at, "%s", wrong)
		}
		given[name] = text
	}
	return given, nil
}

// after is where the next token begins: the decoder tells where the one before it ended.
func after(body []byte, offset int64) int {
	at := int(offset)
	for at < len(body) && strings.IndexByte(" \t\r\n,:", body[at]) >= 0 {
		at++
	}
	return at
}

// pointerTo is the JSON pointer to a member (RFC 6901); to the whole when its name is not to be repeated.
func pointerTo(name string) string {
	const most = 200
	if len(name) > most || !utf8.ValidString(name) {
		return ""
	}
	return "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

func malformed(pointer string, offset int, format string, args ...any) error {
	return &commands.MalformedError{Code: commands.Malformed, Pointer: pointer, Offset: offset, Detail: fmt.Sprintf(format, args...)}
}
