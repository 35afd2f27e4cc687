package api

import (
	"strings"

	"github.com/valyala/fasthttp"
)

// keysOf returns the keys of a request, that of the query and that of the header; each may be empty
// (docs/spec/device-api.md 1.7).
func keysOf(ctx *fasthttp.RequestCtx) (query, header string) {
	return queryKey(ctx.QueryArgs()), headerKey(string(ctx.Request.Header.Peek(fasthttp.HeaderAuthorization)))
}

// queryKey is the query parameter apikey, empty when it is repeated or nested.
func queryKey(args *fasthttp.Args) string {
	var key string
	var count int
	for name, value := range args.All() {
		if n := string(name); n == "apikey" {
			key = string(value)
			count++
		} else if strings.HasPrefix(n, "apikey[") {
			count++
		}
	}
	if count != 1 {
		return ""
	}
	return key
}

// headerKey is the key of an Authorization header "ApiKey <key>" or "Bearer <key>".
func headerKey(header string) string {
	scheme, key, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "ApiKey") && !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	for i := range len(key) {
		if c := key[i]; !isWord(c) {
			return ""
		}
	}
	return key
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}
