package headers

import "strconv"

// What an answer may say of its keeping (RFC 9111 section 5.2.2). The slices are shared by all answers:
// put them into a header as they are and do not change them.
var (
	NoStore    = []string{"no-store"} // it may be another one the next moment
	Revalidate = []string{"no-cache"} // it may be kept, and asked about by its tag
)

var jsonContent = []string{jsonType}

// uncounted is how long a body may be for net/http to count its length by itself.
const uncounted = 2 << 10

// Unmeasured is the length of a body that is not known yet.
const Unmeasured = 0

// DescribeJSON says in an answer's header that a body of JSON of that length follows; cache is one of those
// above.
func DescribeJSON(header map[string][]string, cache []string, length int) {
	header["Content-Type"] = jsonContent
	header["Cache-Control"] = cache
	if length >= uncounted {
		header["Content-Length"] = []string{strconv.Itoa(length)}
	}
}
