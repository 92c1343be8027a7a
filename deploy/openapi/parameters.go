package openapi

import (
	"github.com/ticketed/doorman/commands/headers"
	"github.com/ticketed/doorman/deploy/schemas"
)

func inQuery(name string, schema object) object {
	return object{"name": name, "in": "query", "schema": schema}
}

func inPath(name string, schema object) object {
	return object{"name": name, "in": "path", "required": true, "schema": schema}
}

func inHeader(name, description string, schema object) object {
	return object{"name": name, "in": "header", "description": description, "schema": schema}
}

const uuidText = `[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}`

// parameters are those that several operations have.
func parameters() object {
	prefer := inHeader("Prefer", "wait=N (RFC 7240): how many seconds to wait for an answer that says more.", object{"type": "string"})
	prefer["example"] = "wait=5"
	prefer["x-max-wait"] = headers.MaxWait
	return object{
		"Prefer": prefer,
		"IdempotencyKey": inHeader("Idempotency-Key", "The command's id, when the body has none or the same.",
			object{"type": "string", "pattern": `^("` + uuidText + `"|` + uuidText + `)$`}),
		"IfMatch": inHeader("If-Match", `The ticket in quotes: policy strict.`,
			object{"type": "string", "pattern": `^"(genesis|` + uuidText + `)"$`}),
		"IfNothingYet": inHeader("If-None-Match", `Policy strict with the ticket genesis.`, object{"const": "*"}),
		"IfNoneMatch":  inHeader("If-None-Match", "Tags of what the client has.", object{"type": "string"}),
		"Traceparent":  inHeader("Traceparent", "W3C Trace Context; a broken one is passed over.", object{"type": "string"}),
		"LastEventID":  inHeader("Last-Event-ID", "The last mark, as a browser sends it when it reconnects.", object{"type": "string"}),
	}
}

// responseHeaders are those that answers have.
func responseHeaders() object {
	header := func(required bool, description string, schema object) object {
		h := object{"schema": schema}
		if description != "" {
			h["description"] = description
		}
		if required {
			h["required"] = true
		}
		return h
	}
	return object{
		"NoStore":    header(true, "It may be another one the next moment.", schemas.Constant("no-store")),
		"Revalidate": header(true, "It may be kept, and asked about by its tag.", schemas.Constant("no-cache")),
		"ETag":       header(true, "", schemas.Shaped(`^"[^"]+"$`, "The tag of what is told; of a state it is the ticket.")),
		"Location":   header(false, "", schemas.Shaped("^/v1/commands/", "Where the command's status is found; for a single command.")),
		"RetryAfter": header(true, "Seconds to wait before trying again.", seconds()),
		"RetrySome":  header(false, "Seconds to wait before trying again what was refused for now.", seconds()),
		"Allow":      header(true, "The methods that are taken here.", object{"type": "string"}),
		"PreferenceApplied": header(false, "The wait that was applied (RFC 7240).",
			object{"type": "string", "pattern": `^wait=[0-9]{1,2}$`}),
	}
}
