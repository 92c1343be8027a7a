package intake

import (
	"net/http"
	"strings"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/commands/problem"
)

// receive reads a request and checks all of it. What it returns refuses the request as a whole; what is
// wrong with one command is noted with that.
func (in *Intake) receive(req *request, r *http.Request) *problem.Problem {
	req.began = in.config.Now()
	if refused := in.hold(req, overhead); refused != nil {
		return refused
	}
	req.wait, req.waiting = headers.Wait(r.Header["Prefer"])
	if r.URL.RawQuery != "" {
		return problem.New(commands.Malformed, "this address takes no query parameters")
	}
	if refused := checkContent(r.Header); refused != nil {
		return refused
	}
	if refused := in.readBody(req, r); refused != nil {
		return refused
	}
	decoded, refused := in.rules.Decode(req.body)
	if refused != nil {
		return refused
	}
	if refused := in.takeUp(req, &decoded, r.Header); refused != nil {
		return refused
	}
	switch it := req.items[0]; {
	case req.array:
		in.rules.CheckArray(req.entries())
	case it.Refused == nil:
		in.rules.Check(&it.Entry)
	}
	return nil
}

func checkContent(h http.Header) *problem.Problem {
	if !headers.SendsJSON(h["Content-Type"]) {
		return problem.New(commands.UnsupportedMediaType, "a command is sent with Content-Type: application/json, in UTF-8")
	}
	for _, encoding := range h["Content-Encoding"] {
		if encoding != "" && !strings.EqualFold(encoding, "identity") {
			return problem.New(commands.UnsupportedMediaType, "a body is taken without Content-Encoding only")
		}
	}
	return nil
}

// takeUp makes an item of every command, with what the headers say about it.
func (in *Intake) takeUp(req *request, decoded *commands.Request, h http.Header) *problem.Problem {
	if decoded.Array {
		if refused := noConditions(h); refused != nil {
			return refused
		}
	}
	req.array = decoded.Array
	req.use(len(decoded.Items))
	trace := traceParent(h["Traceparent"])
	for i := range decoded.Items {
		it := req.items[i]
		it.Read(&decoded.Items[i])
		it.Env.TraceParent = trace
	}
	if it := req.items[0]; !req.array && it.Refused == nil {
		it.applyHeaders(decoded.Items[0].Members, h)
	}
	return nil
}
