package admin

import (
	"errors"
	"log/slog"
	"net/http"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/commands/problem"
)

func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := problem.From(err)
	if errors.Is(err, store.ErrUnavailable) {
		p = problem.New(commands.Unavailable, "the store does not answer now")
	}
	if p.Code == commands.Internal && r.Context().Err() != nil {
		return // nobody is there to be told
	}
	if p.Status >= http.StatusInternalServerError {
		level := slog.LevelError
		if p.Code == commands.Unavailable {
			level = slog.LevelDebug // which is told of by /readyz
		}
		a.config.Log.Log(r.Context(), level, "cannot answer an operator", "path", r.URL.Path, "err", err)
	}
	p.ComeLater()
	problem.Write(w, p)
}

func write(w http.ResponseWriter, status int, body []byte) {
	headers.DescribeJSON(w.Header(), headers.NoStore, len(body))
	w.WriteHeader(status)
	_, _ = w.Write(body) // who has gone needs no answer
}
