<title>{{title or 'No title'}}</title>
{{!base}}
