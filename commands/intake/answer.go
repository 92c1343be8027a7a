package intake

import (
	"net/http"
	"strconv"
	"time"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/commands/problem"
)

// answer writes what became of the request.
func (in *Intake) answer(w http.ResponseWriter, req *request) {
	h := w.Header()
	if req.waiting {
		h["Preference-Applied"] = headers.Applied(req.wait)
	}
	if req.array {
		in.answerArray(w, req)
		return
	}
	it := req.items[0]
	if p := it.problem(); p != nil {
		refuse(w, p)
		return
	}
	status := http.StatusOK
	if it.settled() {
		req.out = it.view.AppendTo(req.out)
	} else {
		status = http.StatusAccepted
		h["Location"] = []string{address(it.Env.ID)}
		req.out = commands.AppendAccepted(req.out, it.Env.ID, it.Env.Stream)
	}
	write(w, status, req.out)
}

// answerArray writes one entry for each command, in the order they were sent.
func (in *Intake) answerArray(w http.ResponseWriter, req *request) {
	accepted, open := 0, 0
	var first, later *problem.Problem
	req.out = append(req.out, '[')
	for i, it := range req.items {
		if i > 0 {
			req.out = append(req.out, ',')
		}
		p := it.problem()
		switch {
		case p != nil:
			p.ComeLater()
			req.out = p.AppendTo(req.out)
		case it.settled():
			req.out = it.view.AppendTo(req.out)
		default:
			open++
			req.out = commands.AppendAccepted(req.out, it.Env.ID, it.Env.Stream)
		}
		if it.Refused == nil {
			accepted++
		} else if first == nil {
			first = p
		}
		if p != nil && p.RetryAfter > 0 && later == nil {
			later = p
		}
	}
	req.out = append(req.out, ']')
	status := http.StatusOK
	switch {
	case accepted == 0:
		status = first.Status
	case open > 0 || !req.waiting:
		status = http.StatusAccepted
	}
	if later != nil {
		w.Header()["Retry-After"] = []string{strconv.Itoa(int(later.RetryAfter / time.Second))}
	}
	write(w, status, req.out)
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
