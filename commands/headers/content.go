package headers

import (
	"mime"
	"strconv"
	"strings"
)

const jsonType = "application/json"

// SendsJSON tells whether a Content-Type says application/json, in UTF-8 where it names a charset
// (RFC 8259 section 8.1 knows no other).
func SendsJSON(contentType []string) bool {
	if len(contentType) != 1 {
		return false
	}
	if contentType[0] == jsonType {
		return true
	}
	kind, parameters, err := mime.ParseMediaType(contentType[0])
	if err != nil || kind != jsonType {
		return false
	}
	charset, named := parameters["charset"]
	return !named || strings.EqualFold(charset, "utf-8")
}

// TakesJSON tells whether an Accept header can be answered with application/json; no header takes
// everything. The most specific range that covers it decides (RFC 9110 section 12.5.1).
func TakesJSON(accept []string) bool {
	if len(accept) == 0 || len(accept) == 1 && (accept[0] == "*/*" || accept[0] == jsonType) {
		return true
	}
	best, taken := -1, false
	for _, line := range accept {
		for rest := line; rest != ""; {
			var item string
			item, rest = nextItem(rest)
			kind, parameters, _ := strings.Cut(item, ";")
			specific := specificity(strings.ToLower(trim(kind)))
			if specific > best {
				best, taken = specific, wanted(parameters)
			}
		}
	}
	return taken
}

func specificity(kind string) int {
	switch kind {
	case jsonType:
		return 2
	case "application/*":
		return 1
	case "*/*":
		return 0
	}
	return -1
}

// wanted reads the weight among a media range's parameters: q=0 says "not this".
func wanted(parameters string) bool {
	for rest := parameters; rest != ""; {
		var parameter string
		parameter, rest, _ = strings.Cut(rest, ";")
		name, value, _ := strings.Cut(parameter, "=")
		if strings.EqualFold(trim(name), "q") {
			weight, err := strconv.ParseFloat(trim(value), 64)
			return err != nil || weight > 0
		}
	}
	return true
}
