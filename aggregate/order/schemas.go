package order

// The schemas say what data looks like, and thereby bound it; the rules about orders are in commands.go.
const (
	sku = `{"type":"string","pattern":"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"}`
	qty = `{"type":"integer","minimum":1,"maximum":10000}`

	addLineSchema = `{"type":"object","additionalProperties":false,"required":["sku","qty","price_cents"],
		"properties":{"sku":` + sku + `,"qty":` + qty + `,
			"price_cents":{"type":"integer","minimum":0,"maximum":1000000000}}}`

	changeLineSchema = `{"type":"object","additionalProperties":false,"required":["sku","qty"],
		"properties":{"sku":` + sku + `,"qty":` + qty + `}}`

	removeLineSchema = `{"type":"object","additionalProperties":false,"required":["sku"],
		"properties":{"sku":` + sku + `}}`

	refuseSchema = `{"type":"object","additionalProperties":false,"required":["reason"],
		"properties":{"reason":{"type":"string","minLength":1,"maxLength":500}}}`

	assignOwnerSchema = `{"type":"object","additionalProperties":false,"required":["owner"],
		"properties":{"owner":{"type":"string","minLength":1,"maxLength":100}}}`

	nothingSchema = `{"type":"object","additionalProperties":false}`
)
