package digitalocean

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
)

// signedUntil is the first second of the year 2100. A pool makes machines for as long as the stack lives, from user data
// that says the same all the time: what ends a signed URL is the end of its access key, and not this.
const signedUntil = 4102444800

// signed is the URL of a private object, for whoever has it. It is signed as S3's version 2 says, because version 4 allows
// no more than a week. The URL is always the same: another one would be other user data, and so another machine.
func (c *Cloud) signed(object, accessKey, secretKey string) string {
	query := url.Values{
		"AWSAccessKeyId": {accessKey},
		"Expires":        {strconv.Itoa(signedUntil)},
		"Signature":      {signature(secretKey, signedUntil, c.options.Bucket, object)},
	}
	return c.url(object) + "?" + query.Encode()
}

// signature allows to read an object until a time, in seconds of Unix.
func signature(secretKey string, until int, bucket, object string) string {
	mac := hmac.New(sha1.New, []byte(secretKey))
	fmt.Fprintf(mac, "GET\n\n\n%d\n/%s/%s", until, bucket, object)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
