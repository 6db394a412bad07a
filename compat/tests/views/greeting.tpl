<p>Hello {{name}}!</p>
% for word in words:
<li>{{word}}</li>
% end
