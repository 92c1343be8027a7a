// Package openapitest holds HTTP traffic against an OpenAPI 3.1 document, in both directions: what passes must
// be in the document, and what is in the document must have passed.
//
//	checker, err := openapitest.New(text)          // every structural fault of the document at once
//	client := &http.Client{Transport: checker.Watch(transport)}
//	…                                              // whatever is to be checked
//	checker.Complaints()                           // what was not as the document says
//	checker.Unmet()                                // what it says and nobody saw
//
// Schemas are checked as JSON Schema 2020-12. HEAD is held against GET. A path or a method that the document
// does not have must be answered as its components' responses NoSuchAddress and MethodNotAllowed say. Server-sent
// events are held, one by one, against the schemas that the member x-event-data of their media type names.
package openapitest
