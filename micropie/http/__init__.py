"""HTTP's vocabulary and its messages: headers, cookies, media types, JSON, forms, requests, responses."""
