package welcome

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/chains"
)

// content is what the template tells.
type content struct {
	Links

	Style any
	Types []typeContent
}

type typeContent struct {
	Name     string
	Policies string
	ParkFor  string
	Commands []commandContent
	Chains   []chainContent
}

type commandContent struct {
	Name, Doc, Policies, Schema string
	Anchor                      string // the name of its schema in the OpenAPI document, too
}

type chainContent struct {
	Title string
	Path  string // of the stream that it makes
	Watch string // a request that watches it
	Steps []stepContent
}

type stepContent struct{ Name, Note, Curl string }

// describe tells of a type. Its requests take their ids from the counter.
func describe(t aggregate.Type, tried []chains.Chain, ids *int) typeContent {
	settings := t.Settings()
	c := typeContent{Name: t.Name(), Policies: names(settings.Policies), ParkFor: settings.ParkFor.String()}
	for _, info := range t.Commands() {
		c.Commands = append(c.Commands, commandContent{
			Name: info.Name, Doc: info.Doc, Policies: names(info.Policies), Schema: indented(info.Schema),
			Anchor: t.Name() + "." + info.Name,
		})
	}
	for i, chain := range tried {
		c.Chains = append(c.Chains, describeChain(t, chain, i, ids))
	}
	return c
}

func describeChain(t aggregate.Type, chain chains.Chain, i int, ids *int) chainContent {
	next := func() string { *ids++; return idMark(*ids) }
	stream := t.Name() + "/" + next()
	c := chainContent{Title: "To try on a new stream", Path: "/v1/streams/" + stream,
		Watch: "curl -N " + hostMark + "/v1/notifications?stream=" + stream}
	switch {
	case len(chain) == 1 && !chain[0].Lands():
		c.Title, c.Path = "To see refused", c.Path+"/events"
	case i > 0:
		c.Title = "Or on another one"
	}
	ticket := commands.Genesis.String()
	for _, step := range chain {
		id := next()
		c.Steps = append(c.Steps, stepContent{Name: step.Info.Name, Note: note(&step), Curl: curl(stream, id, ticket, &step)})
		ticket = id
	}
	return c
}

// note explains a request that does not land.
func note(step *chains.Step) string {
	switch {
	case step.Lands():
		return ""
	case step.Data == nil && step.Reason == commands.Invalid:
		return "Its type gives no example of its data: write your own after its schema. As it stands it is turned away: " + step.Detail
	}
	return "It is turned away here (" + string(step.Reason) + "): " + step.Detail
}

// curl is the request as it is typed into a shell.
func curl(stream, id, ticket string, step *chains.Step) string {
	body := fmt.Appendf(nil, `{"id":%q,"stream":%q,"type":%q,"ticket":%q,"actor":"Ann"`, id, stream, step.Info.Name, ticket)
	if step.Data != nil {
		var data bytes.Buffer
		if json.Compact(&data, step.Data) == nil {
			body = append(append(body, `,"data":`...), data.Bytes()...)
		}
	}
	return "curl -sS " + hostMark + "/v1/commands \\\n  -H 'Content-Type: application/json' -H 'Prefer: wait=10' \\\n  -d " +
		quoted(string(body)+"}")
}

// quoted is a text as one word of a shell.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

func names(policies []commands.Policy) string {
	var all []string
	for _, p := range policies {
		all = append(all, p.String())
	}
	return strings.Join(all, ", ")
}

func indented(schema []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, bytes.TrimSpace(schema), "", "  ") != nil {
		return string(schema)
	}
	return b.String()
}
