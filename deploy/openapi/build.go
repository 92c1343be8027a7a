package openapi

import (
	"errors"
	"fmt"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/deploy/chains"
	"github.com/ticketed/doorman/deploy/schemas"
)

// Config is what the document is made from.
type Config struct {
	Types *aggregate.Registry
	// Examples are those of package chains, by the name of the type.
	Examples map[string][]chains.Chain
	Limits   commands.LimitsView
	// Broker: the program has one, and describes what goes over it at /asyncapi.json.
	Broker bool
}

// object is JSON whose members are told in alphabetical order.
type object = schemas.Object

// document is the root (OpenAPI 3.1.0 section 4.8.1).
type document struct {
	OpenAPI    string                          `json:"openapi"`
	Info       info                            `json:"info"`
	Servers    []object                        `json:"servers"`
	Tags       []tag                           `json:"tags"`
	Paths      map[string]map[string]operation `json:"paths"`
	Components components                      `json:"components"`
}

type info struct {
	Title       string `json:"title"`
	Summary     string `json:"summary"`
	Version     string `json:"version"`
	Description string `json:"description"`
}

type tag struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

type components struct {
	Schemas    object              `json:"schemas"`
	Parameters object              `json:"parameters"`
	Headers    object              `json:"headers"`
	Responses  map[string]response `json:"responses"`
}

type operation struct {
	OperationID string              `json:"operationId"` //nolint:tagliatelle // OpenAPI's name
	Summary     string              `json:"summary"`
	Description string              `json:"description,omitempty"`
	Tags        []string            `json:"tags"`
	Parameters  []object            `json:"parameters,omitempty"`
	RequestBody object              `json:"requestBody,omitempty"` //nolint:tagliatelle // as above
	Responses   map[string]response `json:"responses"`
}

// response is a Response Object.
type response struct {
	Description string `json:"description"`
	Headers     object `json:"headers,omitempty"`
	Content     object `json:"content,omitempty"`
}

// Build makes the document.
func Build(config Config) ([]byte, error) {
	if config.Types == nil {
		return nil, errors.New("openapi: no types are given")
	}
	types := schemas.Describe(config.Types, config.Examples)
	doc := document{
		OpenAPI: "3.1.0",
		Info: info{
			Title: "Doorman", Version: "1", Summary: "Commands with tickets, let in in order.",
			Description: overview(config.Limits),
		},
		Servers: []object{{"url": "/"}},
		Tags:    append(tags(), typeTags(types)...),
		Paths: map[string]map[string]operation{
			"/v1/commands":                   {"post": postCommands(types, config.Limits), "get": getCommands()},
			"/v1/commands/{id}":              {"get": getCommand()},
			"/v1/streams":                    {"get": getStreams(types)},
			"/v1/streams/{type}/{id}":        {"get": getStream(types)},
			"/v1/streams/{type}/{id}/events": {"get": getChanges(types)},
			"/v1/notifications":              {"get": getNotifications(config.Limits), "post": postNotifications(config.Limits)},
			"/v1/limits":                     {"get": getLimits()},
			"/livez":                         {"get": getLive()},
			"/readyz":                        {"get": getReady()},
			"/openapi.json":                  {"get": getDocument()},
			"/problems/{code}":               {"get": getProblem()},
			"/":                              {"get": getPage()},
		},
		Components: components{Schemas: allSchemas(types), Parameters: parameters(), Headers: responseHeaders(), Responses: elsewhere()},
	}
	if config.Broker {
		doc.Paths["/asyncapi.json"] = map[string]operation{"get": getMessages()}
	}
	text, err := schemas.Encode(doc)
	if err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	return text, nil
}

func tags() []tag {
	return []tag{
		{"commands", "Sending commands, and where they stand."},
		{"streams", "What streams look like now or looked like then, and what happened on them."},
		{"notifications", "Being told of changes and outcomes as they happen."},
		{"program", "The program itself: its limits, its health, and what describes it."},
	}
}

// typeTags tell what there is to know of each type.
func typeTags(types *schemas.Types) []tag {
	var all []tag
	for _, t := range types.All {
		all = append(all, tag{tagName(t), types.About(t)})
	}
	return all
}

// tagName is no other tag's, whatever the type is called.
func tagName(t aggregate.Type) string { return "type " + t.Name() }

func tagNames(types *schemas.Types) []string {
	var names []string
	for _, t := range types.All {
		names = append(names, tagName(t))
	}
	return names
}

func overview(l commands.LimitsView) string {
	return fmt.Sprintf(`A client sends a command together with a *ticket*: the id of the action it believes came last on that `+
		`stream, or "genesis" where nothing has happened yet. The command is let in when that is so, waits (is *parked*, %d seconds `+
		`unless its type says otherwise) when the action it names has not arrived yet, and is turned away when somebody else got in `+
		`between. Who is turned away is told what was missed and the ticket to send next.

Bodies are JSON as in RFC 7493, %d bytes and %d levels of nesting at most; unknown and duplicate members are refused with their place. `+
		`Errors are RFC 9457 problems, and programs go by their "code". Times are RFC 3339 in UTC with microseconds. A "position" is `+
		"`<epoch>-<n>`"+`, and another epoch is another history.

Every GET address answers HEAD too, without a body. A method that an address does not take is answered with the response `+
		"`MethodNotAllowed`"+`, an address that is not here with `+"`NoSuchAddress`"+`. With too many connections open a new one is `+
		`answered 503 unavailable, whatever it asks. To pages of origins that are allowed by configuration the headers Location, ETag, `+
		`Retry-After and Preference-Applied are exposed.`, l.ParkSeconds, l.MaxBody, l.MaxDepth)
}

func ref(kind, name string) object { return object{"$ref": "#/components/" + kind + "/" + name} }
