package intake

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/commands/problem"
)

// answer writes what became of the request.
func (in *Intake) answer(ctx context.Context, w http.ResponseWriter, req *request) {
	h := w.Header()
	if req.waiting {
		h["Preference-Applied"] = headers.Applied(req.wait)
	}
	if req.array {
		in.answerArray(ctx, w, req)
		return
	}
	it := req.items[0]
	if p := it.problem(); p != nil {
		refuse(w, p)
		return
	}
	status := http.StatusOK
	if !it.settled() {
		status = http.StatusAccepted
		h["Location"] = []string{address(it.Env.ID)}
	}
	req.out = it.appendTo(req.out)
	write(w, status, req.out)
}

// partSize is how much of an answer is sent at once: all of it may be much to hold.
const partSize = 256 << 10

// answerArray writes one entry for each command, in the order they were sent.
func (in *Intake) answerArray(ctx context.Context, w http.ResponseWriter, req *request) {
	status, later := req.summary()
	if later > 0 {
		w.Header()["Retry-After"] = []string{strconv.Itoa(int(later / time.Second))}
	}
	begun := false
	req.out = append(req.out, '[')
	for i, it := range req.items {
		if i > 0 {
			req.out = append(req.out, ',')
		}
		if it.untold != nil {
			in.tell(ctx, it, it.untold)
		}
		req.out = it.appendTo(req.out)
		it.view = commands.CommandView{}
		if len(req.out) < partSize {
			continue
		}
		if !begun {
			headers.DescribeJSON(w.Header(), headers.NoStore, headers.Unmeasured)
			w.WriteHeader(status)
			begun = true
		}
		_, _ = w.Write(req.out) // who has gone needs no answer
		req.out = req.out[:0]
	}
	req.out = append(req.out, ']')
	if begun {
		_, _ = w.Write(req.out) // as above
		return
	}
	write(w, status, req.out)
}

// summary is the status of an array's answer, and when those that were refused for the moment may be sent again;
// 0 when there are none.
func (req *request) summary() (status int, later time.Duration) {
	accepted, open := 0, 0
	first := 0 // status of the first that was refused
	for _, it := range req.items {
		if p := it.Refused; p != nil {
			p.ComeLater()
			if first == 0 {
				first = p.Status
			}
			if later == 0 {
				later = p.RetryAfter
			}
			continue
		}
		accepted++
		if !it.settled() {
			open++
		}
	}
	switch {
	case accepted == 0:
		return first, later
	case open > 0 || !req.waiting:
		return http.StatusAccepted, later
	}
	return http.StatusOK, later
}

// appendTo appends what is told of the command.
func (it *item) appendTo(b []byte) []byte {
	if p := it.problem(); p != nil {
		return p.AppendTo(b)
	}
	if it.view.Status != "" {
		return it.view.AppendTo(b)
	}
	return commands.AppendAccepted(b, it.Env.ID, it.Env.Stream)
}

// problem is what is told of a command that was refused or rejected; nil otherwise.
func (it *item) problem() *problem.Problem {
	if it.Refused != nil {
		return it.Refused
	}
	if it.view.Status == commands.StatusRejected {
		return problem.Rejected(&it.view)
	}
	return nil
}

// address is where a command's status is found.
func address(id commands.ID) string {
	var b [len("/v1/commands/") + 36]byte
	return string(id.AppendTo(append(b[:0], "/v1/commands/"...)))
}

func write(w http.ResponseWriter, status int, body []byte) {
	headers.DescribeJSON(w.Header(), headers.NoStore, len(body))
	w.WriteHeader(status)
	_, _ = w.Write(body) // who has gone needs no answer
}

// refuse answers with a problem.
func refuse(w http.ResponseWriter, p *problem.Problem) {
	p.ComeLater()
	if p.Status == http.StatusRequestTimeout {
		w.Header().Set("Connection", "close") // the rest of the body may still come (RFC 9110 section 15.5.9)
	}
	problem.Write(w, p)
}
