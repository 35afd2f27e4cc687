package api

import (
	"strings"

	"github.com/valyala/fasthttp"
)

// keysOf lists the keys a request carries, the one of the query first; each may be empty
// (docs/spec/device-api.md 1.7).
func keysOf(ctx *fasthttp.RequestCtx) (query, header string) {
	return queryKey(ctx.QueryArgs()), headerKey(string(ctx.Request.Header.Peek(fasthttp.HeaderAuthorization)))
}

// queryKey is the parameter apikey, empty when it is repeated or not plain.
func queryKey(args *fasthttp.Args) string {
	var key string
	var seen int
	for name, value := range args.All() {
		if n := string(name); n == "apikey" {
			key = string(value)
			seen++
		} else if strings.HasPrefix(n, "apikey[") {
			seen++
		}
	}
	if seen != 1 {
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
