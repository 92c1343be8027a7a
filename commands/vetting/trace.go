package vetting

// TraceParent is a W3C trace context when the text is a valid one, as far as version 00 knows its form; none
// otherwise, since a broken one must not be passed on (Trace Context section 3.2).
func TraceParent(text string) string {
	const length = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if len(text) < length || text[:2] == "ff" || len(text) > length && (text[:2] == "00" || text[length] != '-') {
		return ""
	}
	text = text[:length]
	zeros := true
	for i := range length {
		switch c := text[i]; i {
		case 2, 35, 52:
			if c != '-' || i > 2 && zeros {
				return ""
			}
			zeros = true
		default:
			if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
				return ""
			}
			zeros = zeros && c == '0'
		}
	}
	return text
}
