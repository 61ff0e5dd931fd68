package standin

import "testing"

func TestImageName(t *testing.T) {
	t.Parallel()
	filter := func(name string, of ...any) values { return values{"name": name, "values": of} }
	for name, tc := range map[string]struct {
		args values
		want string
	}{
		"one":       {values{"filters": []any{filter("architecture", "x86_64"), filter("name", "fedora-coreos-1")}}, "fedora-coreos-1"},
		"several":   {values{"filters": []any{filter("name", "fedora-coreos-1", "fedora-coreos-2")}}, ""},
		"no name":   {values{"filters": []any{filter("architecture", "x86_64")}}, ""},
		"no filter": {values{"owners": []any{"self"}}, ""},
	} {
		got, err := imageName(inputs(tc.args))
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if err != nil && err.Error() != "look up an image: name exactly one with the filter name" {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}
