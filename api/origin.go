package api

import (
	"net"
	"strings"

	"github.com/valyala/fasthttp"
)

// Any web page can make a browser on the device's network send requests to the device. When a request needs no key and
// has none, only the headers that the browser adds show whether a foreign page made it.

// foreignPage says why a request is refused that a foreign page may have made (docs/spec/device-api.md 1.7). It is
// empty when the request is served. A program that is no browser sends no headers about a page.
func (h *handlers) foreignPage(ctx *fasthttp.RequestCtx, changes bool) string {
	value := func(name string) string { return string(ctx.Request.Header.Peek(name)) }
	host := string(ctx.Request.Header.Host())
	origin, referer := value(fasthttp.HeaderOrigin), value(fasthttp.HeaderReferer)
	// site is same-origin for a page of the device, and none without a page, as when the user typed the address.
	// Over plain HTTP browsers send it only to the machine they run on.
	site := value("Sec-Fetch-Site")
	if isForeign(origin, host) || isForeign(referer, host) || site != "" && site != "same-origin" && site != "none" {
		return textForeignOrigin
	}
	page := origin + referer + site
	mozilla := strings.HasPrefix(value(fasthttp.HeaderUserAgent), "Mozilla/")
	// A page can change the User-Agent of requests to its own origin. It can change Accept-Language too, even to
	// nothing, but it cannot remove it. fetch of Node.js also sends Accept-Language, and of the Sec-Fetch headers only
	// the mode. A browser that sends the mode sends them all.
	browser := mozilla || page+value("Sec-Fetch-Dest") != "" ||
		len(ctx.Request.Header.PeekAll(fasthttp.HeaderAcceptLanguage)) > 0 && value("Sec-Fetch-Mode") == ""
	switch {
	case browser && !h.isOwnName(host):
		return textForeignHost(host)
	case mozilla && changes && page == "":
		return textUnknownPage
	}
	return ""
}

// isForeign tells whether a URL is on another host than host, which may have a port. An empty URL is not foreign; the
// word null, the origin of a page that has none, is.
func isForeign(url, host string) bool {
	if url == "" {
		return false
	}
	_, rest, _ := strings.Cut(url, "://")
	rest, _, _ = strings.Cut(rest, "/")
	return !strings.EqualFold(rest, host)
}

// privateDomains end names that nobody can register: the public DNS does not serve them.
var privateDomains = [...]string{".localhost", ".local", ".internal", ".home.arpa"}

// isOwnName tells whether host, which may have a port, can only be a name of this device. The owner of any other name
// could let it point to the device (DNS rebinding), so that a foreign page has the device's own origin.
func (h *handlers) isOwnName(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if !strings.Contains(name, ".") || net.ParseIP(name) != nil {
		return name != ""
	}
	for _, domain := range privateDomains {
		if strings.HasSuffix(name, domain) {
			return true
		}
	}
	return h.dev.GoesBy(name)
}
