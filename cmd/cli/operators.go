package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ticketed/doorman/commands/problem"
)

// operators are the flags of what is asked of a server's operators' address, and how it is asked.
type operators struct {
	app     *app
	url     string
	asJSON  bool
	by, why string
}

// operatorsOf gives a command the flags that all of these have.
func operatorsOf(a *app, cmd *cobra.Command) *operators {
	o := &operators{app: a}
	cmd.Flags().StringVar(&o.url, "admin-url", "http://127.0.0.1:8081", "`address` of a server's operators, as its admin_listen says")
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "as the JSON that the server answers with")
	return o
}

// decides gives a command the flags of a decision.
func (o *operators) decides(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.by, "by", "", "`name` of who decides it; $USER by default")
	cmd.Flags().StringVar(&o.why, "why", "", "`reason`, which is kept and told")
	_ = cmd.MarkFlagRequired("why") // it is a flag of this command
}

// decision is the body of a decision, with more members of their name and value.
func (o *operators) decision(more ...string) ([]byte, error) {
	by := o.by
	if by == "" {
		by = o.app.getenv("USER")
	}
	switch {
	case strings.TrimSpace(by) == "":
		return nil, usagef("--by: who decides it is not known, as USER is not set")
	case strings.TrimSpace(o.why) == "":
		return nil, usagef("--why: it is empty")
	}
	body := map[string]string{"by": by, "why": o.why}
	for i := 0; i < len(more); i += 2 {
		if more[i+1] != "" {
			body[more[i]] = more[i+1]
		}
	}
	return json.Marshal(body)
}

// operatorsTime is how long an answer may take: longer than the server waits for what comes of an order.
const operatorsTime = 30 * time.Second

// mostAnswered bounds an answer, in bytes: a page of a thousand dead letters, or one of a MiB with its cause.
const mostAnswered = 64 << 20

// ask makes one request and reads the answer into view. The error is a *problem.Problem when the server says no.
func (o *operators) ask(
	ctx context.Context, method, path string, query url.Values, body []byte, view any,
) (status int, raw []byte, err error) {
	if err := checkScheme("admin-url", o.url); err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, operatorsTime)
	defer cancel()
	address := strings.TrimRight(o.url, "/") + "/admin/v1/" + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return 0, nil, &usageError{fmt.Errorf("--admin-url: %w", err)}
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return 0, nil, o.away(err)
	}
	defer response.Body.Close()
	raw, err = io.ReadAll(io.LimitReader(response.Body, mostAnswered))
	if err != nil {
		return 0, nil, fmt.Errorf("the answer of %s broke off: %w", o.url, err)
	}
	return response.StatusCode, raw, o.understand(response, raw, view)
}

// away says what to do about a server that is not reached.
func (o *operators) away(err error) error {
	if unwrapped, ok := errors.AsType[*url.Error](err); ok {
		err = unwrapped.Err
	}
	return fmt.Errorf("no server answers operators at %s (%w): start one with 'doorman serve', or name the address of one "+
		"that has the role gateway with --admin-url", o.url, err)
}

func (o *operators) understand(response *http.Response, raw []byte, view any) error {
	if response.StatusCode >= http.StatusBadRequest {
		p := &problem.Problem{}
		if err := json.Unmarshal(raw, p); err != nil || p.Code == "" {
			return fmt.Errorf("%s answers %s, and is no Doorman's address for operators", o.url, response.Status)
		}
		return p
	}
	if err := json.Unmarshal(raw, view); err != nil {
		return fmt.Errorf("%s answers what is none of Doorman's: %w", o.url, err)
	}
	return nil
}

// printJSON prints an answer, indented.
func (o *operators) printJSON(raw []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := o.app.stdout.Write(b.Bytes())
	return err
}
