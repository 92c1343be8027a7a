// Package openapi describes the public API as an OpenAPI 3.1 document, made from the types that a program
// serves:
//
//	text, err := openapi.Build(openapi.Config{Types: registry, Examples: chains.All(registry), Limits: limits})
//
// Every command of every type is in it with its data's schema, its example and the policies that it may be
// sent with. Answers are described strictly: a member that the document does not name may not come. Package
// openapitest holds what a running program says against it, and deploy does so with the whole contract.
//
// The document is the same bytes for the same types and limits. testdata has the one of the built-in types:
//
//	go test ./deploy/openapi -run Golden -update
//
// [BuildOperators] describes the API for operators, which is on a listener of its own and knows no types.
package openapi
