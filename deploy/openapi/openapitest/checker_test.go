package openapitest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/order"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/chains"
	"github.com/ticketed/doorman/deploy/openapi"
	"github.com/ticketed/doorman/deploy/openapi/openapitest"
	"github.com/ticketed/doorman/deploy/schemas/schemastest"
)

func document(t *testing.T) []byte {
	t.Helper()
	types, err := aggregate.NewRegistry(order.Type())
	require.NoError(t, err)
	text, err := openapi.Build(openapi.Config{
		Types: types, Examples: chains.All(types), Limits: commands.LimitsView{MaxArray: 2, MaxWatched: 2},
	})
	require.NoError(t, err)
	return text
}

func checker(t *testing.T) *openapitest.Checker {
	t.Helper()
	c, err := openapitest.New(document(t))
	require.NoError(t, err)
	return c
}

const (
	id      = "01900000-0000-7000-8000-000000000001"
	submit  = `{"stream":"order/1","type":"submit","ticket":"genesis"}`
	taken   = `{"id":"` + id + `","stream":"order/1","status":"accepted"}`
	refused = `{"type":"/problems/malformed","title":"t","status":400,"code":"malformed"}`
	landed  = `{"id":"` + id + `","stream":"order/1","type":"submit","status":"landed","position":"e-1","version":1,"ticket":"` + id + `"}`
)

// passed is an exchange that is as the document says, and changed by the case.
func passed(change func(*openapitest.Exchange)) *openapitest.Exchange {
	e := &openapitest.Exchange{
		Method: "POST", URL: &url.URL{Path: "/v1/commands"}, Asked: http.Header{}, Sent: []byte(submit), Status: 202,
		Header: http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}, "Location": {"/v1/commands/x"}},
		Answer: []byte(taken),
	}
	change(e)
	return e
}

func reading(path, answer string) func(*openapitest.Exchange) {
	return func(e *openapitest.Exchange) {
		e.Method, e.Sent, e.Status, e.Answer = "GET", nil, 200, []byte(answer)
		e.URL, _ = url.Parse(path)
		e.Header.Del("Location")
	}
}

func answering(status int, answer string) func(*openapitest.Exchange) {
	return func(e *openapitest.Exchange) {
		e.Status, e.Answer = status, []byte(answer)
		e.Header.Del("Location")
		if status >= 400 {
			e.Header.Set("Content-Type", "application/problem+json")
		}
	}
}

func events(stream string) func(*openapitest.Exchange) {
	return func(e *openapitest.Exchange) {
		reading("/v1/notifications?stream=order/1", stream)(e)
		e.Part = true
		e.Header.Set("Content-Type", "text/event-stream")
	}
}

// The check is only worth something if it finds what it is meant to find.
func TestWhatIsNotInTheDocumentIsFound(t *testing.T) {
	t.Parallel()
	c := checker(t)
	for name, row := range map[string]struct {
		change func(*openapitest.Exchange)
		found  string // empty: it is as the document says
	}{
		"as it should be":      {func(*openapitest.Exchange) {}, ""},
		"landed":               {answering(200, landed), ""},
		"refused":              {answering(400, refused), ""},
		"a member too many":    {answering(200, strings.Replace(landed, `"version"`, `"extra":1,"version"`, 1)), "the answer"},
		"a member missing":     {answering(200, strings.Replace(landed, `"version":1,`, ``, 1)), "the answer"},
		"an id in upper case":  {answering(200, strings.ToUpper(landed)), "the answer"},
		"no JSON":              {answering(200, "{"), "no JSON"},
		"another status":       {answering(201, landed), "does not tell of status 201"},
		"a code of another":    {answering(400, strings.ReplaceAll(refused, "malformed", "not_found")), "the answer"},
		"another content type": {func(e *openapitest.Exchange) { e.Header.Set("Content-Type", "text/html") }, "content type"},
		"a header too many":    {func(e *openapitest.Exchange) { e.Header.Set("X-New", "1") }, "X-New is not told of"},
		"a header missing":     {func(e *openapitest.Exchange) { e.Header.Del("Cache-Control") }, "Cache-Control is missing"},
		"a header of its own":  {func(e *openapitest.Exchange) { e.Header.Set("Cache-Control", "public") }, "Cache-Control"},
		"a body too many":      {func(e *openapitest.Exchange) { reading("/livez", "{}")(e); e.Method = "HEAD" }, "the answer has a body"},
		"no such method":       {func(e *openapitest.Exchange) { e.Method = "PUT" }, "Location is not told of"},
		"no such address":      {func(e *openapitest.Exchange) { e.URL.Path = "/v1/x" }, "Location is not told of"},
		"taken, not described": {func(e *openapitest.Exchange) { e.Sent = []byte(`{"stream":"order/1","type":"fly"}`) }, "what was sent and taken"},
		"taken with strange data": {func(e *openapitest.Exchange) {
			e.Sent = []byte(`{"stream":"order/1","type":"submit","data":{"x":1}}`)
		}, "what was sent and taken"},
		"unknown, but described": {answering(422, `{"type":"/problems/unknown_command","title":"t","status":422,"detail":"d","instance":"/v1/commands/x",
			"code":"unknown_command","id":"`+id+`","stream":"order/1","position":"e-1","version":0,"ticket":"genesis","reason":"unknown_command",
			"root":"`+id+`","root_reason":"unknown_command"}`), "refused as unknown_command"},
		"a header of the request": {func(e *openapitest.Exchange) { e.Asked.Set("If-Match", "genesis") }, "If-Match"},
		"a parameter":             {reading("/v1/commands?id="+id, `[{"id":"`+id+`","status":"unknown"}]`), ""},
		"a parameter missing":     {reading("/v1/commands", `[{"id":"`+id+`","status":"unknown"}]`), "the parameter id"},
		"a parameter unknown":     {reading("/v1/commands/"+id+"?x=1", landed), "x is not told of"},
		"a parameter of its own":  {reading("/v1/commands?id=7", `[{"id":"`+id+`","status":"unknown"}]`), "the parameter id"},
		"a path of its own":       {reading("/v1/commands/7", landed), "the parameter id"},
		"an item of an array": {func(e *openapitest.Exchange) {
			e.Sent, e.Answer = []byte(`[`+submit+`,{"stream":"order/1","type":"fly"}]`), []byte(`[`+taken+`,`+taken+`]`)
		}, "item 1"},
		"events":           {events(": ok\n\nevent: reset\ndata: {\"reason\":\"epoch\"}\nid: e-7\n\nevent: sta"), ""},
		"an unknown event": {events("event: news\ndata: {}\n\n"), `"news" is not told of`},
		"a strange event":  {events("event: reset\ndata: {\"reason\":\"tired\"}\n\n"), "reason"},
		"a strange mark":   {events("id: 7\n\n"), "the id"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.Check(passed(row.change))
			if row.found == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, row.found)
		})
	}
}

// Each rule of structure is broken once.
func TestFaultsOfADocumentAreFound(t *testing.T) {
	t.Parallel()
	read := func(text []byte) error {
		_, err := openapitest.New(text)
		return err
	}
	schemastest.RequireFound(t, document(t), read, map[string][3]string{
		"reference":         {`"#/components/schemas/Landed"`, `"#/components/schemas/Landet"`, "which is not there"},
		"unused":            {`"schemas":{`, `"schemas":{"Spare":{},`, "nothing refers to"},
		"name":              {`"schemas":{`, `"schemas":{"a b":{},`, "no name for a component"},
		"operation id":      {`"operationId":"live"`, `"operationId":"ready"`, "not its own"},
		"path parameter":    {`"/v1/commands/{id}":`, `"/v1/commands/{key}":`, "key is not declared"},
		"schema":            {`"minimum":0`, `"minimum":"none"`, "schema"},
		"tag":               {`"tags":["notifications"]`, `"tags":["news"]`, "no tag news"},
		"tag twice":         {`{"name":"program"`, `{"name":"streams"`, "two tags"},
		"example":           {`"stream":"order/42"`, `"stream":"orders/42"`, "its example"},
		"version":           {`"openapi":"3.1.0"`, `"openapi":"3.0.3"`, "openapi is"},
		"mapping":           {`"submit":"#/components/schemas/order.submit"`, `"submit":"#/components/schemas/submit"`, "is mapped to"},
		"status":            {`"responses":{"200":`, `"responses":{"2000":`, "is no status"},
		"no description":    {`"description":"It does."`, `"description":""`, "has no description"},
		"parameter's place": {`"in":"query","name":"deliver"`, `"in":"body","name":"deliver"`, "is no parameter"},
		"media type":        {`"text/plain":`, `"text plain":`, "is no media type"},
	})
}

func TestTrafficIsWatched(t *testing.T) {
	t.Parallel()
	c := checker(t)
	answer := `{"status":"live"}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write([]byte(answer))
	}))
	defer server.Close()
	client := &http.Client{Transport: c.Watch(server.Client().Transport)}
	ask := func() {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/livez", http.NoBody)
		require.NoError(t, err)
		response, err := client.Do(r)
		require.NoError(t, err)
		var v map[string]any
		require.NoError(t, json.NewDecoder(response.Body).Decode(&v))
		_, err = response.Body.Read(make([]byte, 1))
		require.Error(t, err)
		require.NoError(t, response.Body.Close())
	}
	require.Contains(t, c.Unmet(), "live 200 application/json")
	require.Contains(t, c.Unmet(), "stream 304")
	require.Contains(t, c.Unmet(), "watch 200 text/event-stream parked")
	ask()
	require.NotContains(t, c.Unmet(), "live 200 application/json")
	require.Empty(t, c.Complaints())
	answer = `{"status":"dead"}`
	ask()
	require.Len(t, c.Complaints(), 1)
	require.Contains(t, c.Complaints()[0], "/livez")
}
