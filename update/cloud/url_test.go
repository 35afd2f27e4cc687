package cloud

import (
	"net/url"
	"testing"
)

// docs/spec/host.md 8: characters that the cloud API accepts only unescaped are sent unescaped. Characters with a meaning
// in a URL stay escaped.
func TestBytesOfURLs(t *testing.T) {
	f := func(path string, query url.Values, want string) {
		t.Helper()
		c, err := New("https://cloud/base", "test", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		req, err := c.request(&call{path: path, query: query})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(req.Header.RequestURI()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	d := &Device{}
	f(d.path("device", 4), nil, "/base/v7/device(4)")
	f(d.path("application", 4), url.Values{"$select": {"uuid"}}, "/base/v7/application(4)?%24select=uuid")
	f("/v7/device_tag", odata("id,tag_key,value", "device eq 1"), "/base/v7/device_tag?%24filter=device%20eq%201&%24select=id,tag_key,value")
	f("/v7/release", odata("id", "commit eq 'a(1),b'"), "/base/v7/release?%24filter=commit%20eq%20%27a(1),b%27&%24select=id")
	f("/a b?%28", url.Values{"q": {"%29&#+=\r\n"}}, "/base/a%20b%3F%2528?q=%2529%26%23%2B%3D%0D%0A")
}
